// SPDX-License-Identifier: GPL-2.0-only
/*
 * The SVSM bus: asks the SVSM at load time which of the known protocols it serves, and makes a
 * device of each service.
 */
#include <linux/cc_platform.h>
#include <linux/kernel.h>
#include <linux/slab.h>
#include <linux/sysfs.h>

#include <asm/sev.h>

#include "svsm_call.h"

/*
 * Services that a protocol of the specification reaches, and the highest version that is known of
 * it. GUIDs are those of the attestation protocol's services manifest: once that is read, it says
 * what is there, and this table which protocol reaches it.
 */
static const struct {
	const char *name;
	guid_t guid;
	u32 protocol;
	u32 version;
} services[] = {
	{ "vTPM", SVSM_SERVICE_VTPM, 2, 1 },
};

static struct device *svsm_root;

static int svsm_match(struct device *dev, const struct device_driver *drv)
{
	const struct svsm_device_id *id = to_svsm_driver(drv)->id_table;
	const struct svsm_device *sdev = to_svsm_device(dev);

	for (; id && !guid_is_null(&id->guid); id++) {
		if (guid_equal(&id->guid, &sdev->guid))
			return 1;
	}
	return 0;
}

static int svsm_uevent(const struct device *dev, struct kobj_uevent_env *env)
{
	const struct svsm_device *sdev = container_of_const(dev, struct svsm_device, dev);

	return add_uevent_var(env, "SVSM_GUID=%pUl", &sdev->guid) ?:
	       add_uevent_var(env, "SVSM_PROTOCOL=%u", sdev->protocol) ?:
	       add_uevent_var(env, "MODALIAS=svsm:%pUl", &sdev->guid);
}

static int svsm_probe(struct device *dev)
{
	const struct svsm_driver *driver = to_svsm_driver(dev->driver);
	const struct svsm_device_id *id = driver->id_table;
	struct svsm_device *sdev = to_svsm_device(dev);

	while (!guid_equal(&id->guid, &sdev->guid))
		id++;
	return driver->probe(sdev, id);
}

static void svsm_remove(struct device *dev)
{
	const struct svsm_driver *driver = to_svsm_driver(dev->driver);

	if (driver->remove)
		driver->remove(to_svsm_device(dev));
}

static const struct bus_type svsm_bus = {
	.name = "svsm",
	.match = svsm_match,
	.uevent = svsm_uevent,
	.probe = svsm_probe,
	.remove = svsm_remove,
};

/**
 * __svsm_driver_register() - offers a driver to the bus
 * @driver: with at least a table and a probe function
 * @owner: its module
 *
 * Return: 0 or a negative error.
 */
int __svsm_driver_register(struct svsm_driver *driver, struct module *owner)
{
	if (!driver->id_table || !driver->probe)
		return -EINVAL;
	driver->driver.owner = owner;
	driver->driver.bus = &svsm_bus;
	return driver_register(&driver->driver);
}
EXPORT_SYMBOL_GPL(__svsm_driver_register);

/**
 * svsm_driver_unregister() - takes a driver back
 * @driver: a registered one
 */
void svsm_driver_unregister(struct svsm_driver *driver)
{
	driver_unregister(&driver->driver);
}
EXPORT_SYMBOL_GPL(svsm_driver_unregister);

static ssize_t guid_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%pUl\n", &to_svsm_device(dev)->guid);
}
static DEVICE_ATTR_RO(guid);

static ssize_t protocol_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", to_svsm_device(dev)->protocol);
}
static DEVICE_ATTR_RO(protocol);

static ssize_t version_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", to_svsm_device(dev)->version);
}
static DEVICE_ATTR_RO(version);

static ssize_t modalias_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "svsm:%pUl\n", &to_svsm_device(dev)->guid);
}
static DEVICE_ATTR_RO(modalias);

static struct attribute *svsm_attrs[] = {
	&dev_attr_guid.attr,
	&dev_attr_protocol.attr,
	&dev_attr_version.attr,
	&dev_attr_modalias.attr,
	NULL
};

static const struct attribute_group svsm_group = { .attrs = svsm_attrs };

static const struct attribute_group *svsm_groups[] = {
	&svsm_group,
	&svsm_stats_group,
	NULL
};

static void svsm_release(struct device *dev)
{
	kfree(to_svsm_device(dev));
}

static int svsm_add(const guid_t *guid, u32 protocol, u32 version)
{
	struct svsm_device *sdev = kzalloc(sizeof(*sdev), GFP_KERNEL);
	int ret;

	if (!sdev)
		return -ENOMEM;
	sdev->guid = *guid;
	sdev->protocol = protocol;
	sdev->version = version;
	sdev->dev.parent = svsm_root;
	sdev->dev.bus = &svsm_bus;
	sdev->dev.groups = svsm_groups;
	sdev->dev.release = svsm_release;
	device_initialize(&sdev->dev);
	ret = dev_set_name(&sdev->dev, "%pUl", guid) ?: device_add(&sdev->dev);
	if (ret)
		put_device(&sdev->dev);
	return ret;
}

static int svsm_unregister(struct device *dev, void *unused)
{
	device_unregister(dev);
	return 0;
}

static void svsm_discover(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(services); i++) {
		u32 min, max, version;
		int ret = svsm_query_protocol(services[i].protocol, &min, &max);

		if (!ret && min > services[i].version)
			ret = -EPROTONOSUPPORT;
		version = ret ? 0 : min(max, services[i].version);
		if (!ret)
			ret = svsm_add(&services[i].guid, services[i].protocol, version);
		if (!ret)
			pr_info("svsm: %s: protocol %u, version %u\n", services[i].name,
				services[i].protocol, version);
		else if (ret != -ENODEV)
			pr_err("svsm: %s: error %d\n", services[i].name, ret);
	}
}

static int __init svsm_init(void)
{
	int ret;

	/* A guest of SNP that is not at VMPL0 has an SVSM: the kernel does not boot otherwise. */
	if (!cc_platform_has(CC_ATTR_GUEST_SEV_SNP) || !snp_vmpl)
		return -ENODEV;
	ret = svsm_call_init();
	if (ret)
		return ret;
	ret = bus_register(&svsm_bus);
	if (ret)
		goto no_bus;
	svsm_root = root_device_register("svsm");
	if (IS_ERR(svsm_root)) {
		ret = PTR_ERR(svsm_root);
		goto no_root;
	}
	svsm_discover();
	return 0;

no_root:
	bus_unregister(&svsm_bus);
no_bus:
	svsm_call_exit();
	return ret;
}

static void __exit svsm_exit(void)
{
	bus_for_each_dev(&svsm_bus, NULL, NULL, svsm_unregister);
	root_device_unregister(svsm_root);
	bus_unregister(&svsm_bus);
	svsm_call_exit();
}

module_init(svsm_init);
module_exit(svsm_exit);

MODULE_DESCRIPTION("Services of the SVSM of an SEV-SNP guest");
MODULE_LICENSE("GPL");
/* Nothing else asks for the bus: the kernel makes this device where the SVSM has a vTPM. */
MODULE_ALIAS("platform:tpm-svsm");
