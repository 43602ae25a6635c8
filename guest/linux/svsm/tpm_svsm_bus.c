// SPDX-License-Identifier: GPL-2.0-only
/*
 * The SVSM's vTPM as a TPM of Linux's, by calls of its own: a long command is one call in many
 * slices, and the CPU takes interrupts and other tasks between them.
 */
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/tpm_svsm.h>

#include <asm/sev.h>

#include "svsm.h"
#include "tpm_core.h"

/*
 * Longer than any command: what the SVSM gives a command before it gives up the vTPM is less. It is
 * not cut short when the task is killed, as with any other TPM: what comes after (the resource
 * manager's clean-up) would find the vTPM busy.
 */
#define TIMEOUT_MS	(600 * 1000)

struct tpm_svsm {
	struct svsm_device *sdev;
	struct tpm_chip *chip;
	void *page; /* request and response: both fit, and neither crosses into memory of others */
};

static int tpm_svsm_execute(struct tpm_svsm *vtpm, u8 *buf, size_t bufsiz, size_t cmd_len)
{
	struct svsm_args args = { .rcx = virt_to_phys(vtpm->page) };
	int ret;

	ret = svsm_vtpm_cmd_request_fill(vtpm->page, 0, buf, cmd_len);
	if (ret)
		return ret;
	/* To the last slice the page stays as it is: by it the SVSM knows the call again. */
	ret = svsm_call_sliced(vtpm->sdev, SVSM_VTPM_CMD, &args, TIMEOUT_MS, 0);
	if (ret)
		return ret;
	return svsm_vtpm_cmd_response_parse(vtpm->page, buf, bufsiz);
}

static int tpm_svsm_send(struct tpm_chip *chip, u8 *buf, size_t bufsiz, size_t cmd_len)
{
	return tpm_svsm_execute(dev_get_drvdata(&chip->dev), buf, bufsiz, cmd_len);
}

static const struct tpm_class_ops tpm_svsm_ops = {
	.flags = TPM_OPS_AUTO_STARTUP,
	.send = tpm_svsm_send,
};

static void tpm_svsm_free_page(void *page)
{
	/* Commands carry secrets. */
	memzero_explicit(page, PAGE_SIZE);
	free_page((unsigned long)page);
}

/* Whether the vTPM takes TPM commands, which is one bit of many. */
static int tpm_svsm_query(struct svsm_device *sdev)
{
	struct svsm_args args = {};
	int ret = svsm_call_sliced(sdev, SVSM_VTPM_QUERY, &args, TIMEOUT_MS, SVSM_CALL_KILLABLE);

	if (ret)
		return ret;
	return args.rcx & BIT_ULL(8) ? 0 : -EOPNOTSUPP;
}

/*
 * TPM2_Startup(CLEAR). A firmware with TPM code has done it, and then the vTPM answers
 * TPM_RC_INITIALIZE; where Linux is started without one the kernel's TPM code would do it as well,
 * but call it an error first.
 */
static int tpm_svsm_startup(struct tpm_svsm *vtpm)
{
	u8 buf[64] = { 0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x44, 0, 0 };
	int ret = tpm_svsm_execute(vtpm, buf, sizeof(buf), 12);

	return ret < 0 ? ret : 0;
}

static int tpm_svsm_probe(struct svsm_device *sdev, const struct svsm_device_id *id)
{
	struct device *dev = &sdev->dev;
	struct tpm_svsm *vtpm;
	int ret;

	ret = tpm_svsm_query(sdev);
	if (ret)
		return dev_err_probe(dev, ret, "the vTPM takes no TPM commands\n");
	vtpm = devm_kzalloc(dev, sizeof(*vtpm), GFP_KERNEL);
	if (!vtpm)
		return -ENOMEM;
	vtpm->sdev = sdev;
	vtpm->page = (void *)__get_free_page(GFP_KERNEL);
	if (!vtpm->page)
		return -ENOMEM;
	ret = devm_add_action_or_reset(dev, tpm_svsm_free_page, vtpm->page);
	if (ret)
		return ret;
	vtpm->chip = tpmm_chip_alloc(dev, &tpm_svsm_ops);
	if (IS_ERR(vtpm->chip))
		return PTR_ERR(vtpm->chip);
	dev_set_drvdata(&vtpm->chip->dev, vtpm);
	dev_set_drvdata(dev, vtpm->chip);
	/* send() comes back with the response. */
	vtpm->chip->flags |= TPM_CHIP_FLAG_SYNC;
	ret = tpm_svsm_startup(vtpm) ?: tpm2_probe(vtpm->chip);
	if (ret)
		return ret;
	if (!(vtpm->chip->flags & TPM_CHIP_FLAG_TPM2))
		return dev_err_probe(dev, -ENODEV, "not a TPM 2.0\n");
	ret = tpm_chip_register(vtpm->chip);
	if (ret)
		return ret;
	dev_info(dev, "TPM 2.0 of the SVSM\n");
	return 0;
}

static void tpm_svsm_remove(struct svsm_device *sdev)
{
	tpm_chip_unregister(dev_get_drvdata(&sdev->dev));
}

static const struct svsm_device_id tpm_svsm_ids[] = {
	{ .guid = SVSM_SERVICE_VTPM },
	{ }
};

static struct svsm_driver tpm_svsm_driver = {
	.driver.name = "tpm_svsm_bus",
	.id_table = tpm_svsm_ids,
	.probe = tpm_svsm_probe,
	.remove = tpm_svsm_remove,
};
module_svsm_driver(tpm_svsm_driver);

MODULE_DESCRIPTION("TPM of the SVSM, on the SVSM bus");
MODULE_LICENSE("GPL");
/* modpost knows no table of this bus. */
MODULE_ALIAS(SVSM_SERVICE_VTPM_ALIAS);
