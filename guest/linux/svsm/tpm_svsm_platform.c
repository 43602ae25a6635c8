// SPDX-License-Identifier: GPL-2.0-only
/*
 * The SVSM's vTPM by the platform device that the kernel makes of it, and by the kernel's own call.
 * That repeats BUSY and INCOMPLETE with interrupts off, so a long command stops the CPU for as long
 * as it takes: this driver is for comparison, and for kernels where the bus cannot be had. Load one
 * or the other.
 */
#include <linux/gfp.h>
#include <linux/ktime.h>
#include <linux/platform_device.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include <linux/tpm_svsm.h>

#include <asm/sev.h>

#include "tpm_core.h"

struct tpm_svsm {
	void *page;
	u64 calls;	/* commands so far; these two change under the chip's own lock */
	u64 call_max;	/* nanoseconds of the longest, with interrupts off */
};

static int tpm_svsm_send(struct tpm_chip *chip, u8 *buf, size_t bufsiz, size_t cmd_len)
{
	struct tpm_svsm *vtpm = dev_get_drvdata(&chip->dev);
	u64 start;
	int ret;

	ret = svsm_vtpm_cmd_request_fill(vtpm->page, 0, buf, cmd_len);
	if (ret)
		return ret;
	start = ktime_get_ns();
	ret = snp_svsm_vtpm_send_command(vtpm->page);
	vtpm->call_max = max(vtpm->call_max, ktime_get_ns() - start);
	vtpm->calls++;
	if (ret)
		return ret;
	return svsm_vtpm_cmd_response_parse(vtpm->page, buf, bufsiz);
}

static const struct tpm_class_ops tpm_svsm_ops = {
	.flags = TPM_OPS_AUTO_STARTUP,
	.send = tpm_svsm_send,
};

static struct tpm_svsm *to_vtpm(struct device *dev)
{
	struct tpm_chip *chip = dev_get_drvdata(dev);

	return dev_get_drvdata(&chip->dev);
}

static ssize_t calls_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%llu\n", to_vtpm(dev)->calls);
}
static DEVICE_ATTR_RO(calls);

static ssize_t call_max_ns_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%llu\n", to_vtpm(dev)->call_max);
}
static DEVICE_ATTR_RO(call_max_ns);

static ssize_t reset_store(struct device *dev, struct device_attribute *attr, const char *buf,
			   size_t count)
{
	to_vtpm(dev)->calls = 0;
	to_vtpm(dev)->call_max = 0;
	return count;
}
static DEVICE_ATTR_WO(reset);

static struct attribute *tpm_svsm_attrs[] = {
	&dev_attr_calls.attr,
	&dev_attr_call_max_ns.attr,
	&dev_attr_reset.attr,
	NULL
};

static const struct attribute_group tpm_svsm_group = {
	.name = "statistics",
	.attrs = tpm_svsm_attrs,
};

static const struct attribute_group *tpm_svsm_groups[] = { &tpm_svsm_group, NULL };

static void tpm_svsm_free_page(void *page)
{
	memzero_explicit(page, PAGE_SIZE);
	free_page((unsigned long)page);
}

static int tpm_svsm_probe(struct platform_device *pdev)
{
	struct device *dev = &pdev->dev;
	struct tpm_svsm *vtpm;
	struct tpm_chip *chip;
	int ret;

	vtpm = devm_kzalloc(dev, sizeof(*vtpm), GFP_KERNEL);
	if (!vtpm)
		return -ENOMEM;
	vtpm->page = (void *)__get_free_page(GFP_KERNEL);
	if (!vtpm->page)
		return -ENOMEM;
	ret = devm_add_action_or_reset(dev, tpm_svsm_free_page, vtpm->page);
	if (ret)
		return ret;
	chip = tpmm_chip_alloc(dev, &tpm_svsm_ops);
	if (IS_ERR(chip))
		return PTR_ERR(chip);
	dev_set_drvdata(&chip->dev, vtpm);
	platform_set_drvdata(pdev, chip);
	chip->flags |= TPM_CHIP_FLAG_SYNC;
	ret = tpm2_probe(chip) ?: tpm_chip_register(chip);
	if (ret)
		return ret;
	dev_info(dev, "TPM 2.0 of the SVSM, by the kernel's own call\n");
	return 0;
}

static void tpm_svsm_remove(struct platform_device *pdev)
{
	tpm_chip_unregister(platform_get_drvdata(pdev));
}

static struct platform_driver tpm_svsm_driver = {
	.driver.name = "tpm-svsm",
	.driver.dev_groups = tpm_svsm_groups,
	.probe = tpm_svsm_probe,
	.remove = tpm_svsm_remove,
};
module_platform_driver(tpm_svsm_driver);

MODULE_DESCRIPTION("TPM of the SVSM, on the kernel's platform device");
MODULE_LICENSE("GPL");
/* No alias: it must not be loaded on its own in the bus's place. */
