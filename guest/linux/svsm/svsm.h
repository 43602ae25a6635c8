/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The SVSM bus: services of a Secure VM Service Module as devices.
 *
 * A driver names the services that it is for by GUID, and calls them one slice at a time, with
 * interrupts on between slices. docs/src/svsm-bus.md of the Macadamia project is the specification.
 */
#ifndef _SVSM_H
#define _SVSM_H

#include <linux/atomic.h>
#include <linux/device.h>
#include <linux/mod_devicetable.h>
#include <linux/module.h>
#include <linux/types.h>
#include <linux/uuid.h>

/* The vTPM, as the attestation protocol's services manifest names it. */
#define SVSM_SERVICE_VTPM \
	GUID_INIT(0xc476f1eb, 0x0123, 0x45a5, 0x96, 0x41, 0xb4, 0xe7, 0xdd, 0xe5, 0xbf, 0xe3)
#define SVSM_SERVICE_VTPM_ALIAS "svsm:c476f1eb-0123-45a5-9641-b4e7dde5bfe3"

/**
 * struct svsm_args - registers of one call
 * @rcx: in and out
 * @rdx: in and out
 * @r8: in and out
 * @r9: in and out
 * @result: RAX as the SVSM returned it, one of SVSM_SUCCESS, SVSM_ERR_... of asm/sev.h
 */
struct svsm_args {
	u64 rcx;
	u64 rdx;
	u64 r8;
	u64 r9;
	u64 result;
};

/* What a device's calls came to; read in its folder statistics in sysfs. */
struct svsm_stats {
	atomic64_t calls;	/* that svsm_call_sliced() brought to an end */
	atomic64_t slices;	/* times that the SVSM ran */
	atomic64_t incomplete;	/* of these ended with INCOMPLETE */
	atomic64_t busy;	/* of these ended with BUSY */
	atomic64_t repeated;	/* requests to the host that the SVSM did not see */
	atomic64_t slice_max;	/* longest slice: nanoseconds with interrupts off */
	atomic64_t call_max;	/* longest call, from its first slice to its last */
};

/**
 * struct svsm_device - a service of the SVSM
 * @dev: the device
 * @guid: what the service is
 * @protocol: number of the protocol that reaches it
 * @version: highest version of this protocol that both the SVSM and the bus know
 * @stats: what its calls came to
 */
struct svsm_device {
	struct device dev;
	guid_t guid;
	u32 protocol;
	u32 version;
	struct svsm_stats stats;
};

#define to_svsm_device(d) container_of(d, struct svsm_device, dev)

/**
 * struct svsm_device_id - a service that a driver is for
 * @guid: the service; a table ends with the null GUID
 * @driver_data: the driver's own
 */
struct svsm_device_id {
	guid_t guid;
	kernel_ulong_t driver_data;
};

/**
 * struct svsm_driver - a driver of services
 * @driver: name and the like
 * @id_table: what it is for
 * @probe: a device of the table is there
 * @remove: it goes away
 */
struct svsm_driver {
	struct device_driver driver;
	const struct svsm_device_id *id_table;
	int (*probe)(struct svsm_device *sdev, const struct svsm_device_id *id);
	void (*remove)(struct svsm_device *sdev);
};

#define to_svsm_driver(d) container_of_const(d, struct svsm_driver, driver)

int __svsm_driver_register(struct svsm_driver *driver, struct module *owner);
void svsm_driver_unregister(struct svsm_driver *driver);

#define svsm_driver_register(driver) __svsm_driver_register(driver, THIS_MODULE)
#define module_svsm_driver(driver) \
	module_driver(driver, svsm_driver_register, svsm_driver_unregister)

/* The call ends early when its task is killed. */
#define SVSM_CALL_KILLABLE BIT(0)

int svsm_call(struct svsm_device *sdev, u32 call, struct svsm_args *args);
int svsm_call_sliced(struct svsm_device *sdev, u32 call, struct svsm_args *args,
		     unsigned int timeout_ms, unsigned int flags);
int svsm_errno(u64 result);

#endif /* _SVSM_H */
