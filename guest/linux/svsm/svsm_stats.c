// SPDX-License-Identifier: GPL-2.0-only
/* What calls came to: one file per figure, in /sys/bus/svsm/devices/.../statistics. */
#include <linux/sysfs.h>

#include <asm/sev.h>

#include "svsm_call.h"

static void raise(atomic64_t *most, u64 value)
{
	s64 old = atomic64_read(most);

	while (old < (s64)value && !atomic64_try_cmpxchg(most, &old, value))
		;
}

void svsm_stats_slice(struct svsm_stats *stats, u64 result, u64 nanoseconds)
{
	atomic64_inc(&stats->slices);
	if (result == SVSM_ERR_INCOMPLETE)
		atomic64_inc(&stats->incomplete);
	else if (result == SVSM_ERR_BUSY)
		atomic64_inc(&stats->busy);
	raise(&stats->slice_max, nanoseconds);
}

void svsm_stats_call(struct svsm_stats *stats, u64 nanoseconds)
{
	atomic64_inc(&stats->calls);
	raise(&stats->call_max, nanoseconds);
}

#define FIGURE(field, file)								\
static ssize_t file##_show(struct device *dev, struct device_attribute *attr, char *buf)	\
{											\
	return sysfs_emit(buf, "%lld\n", atomic64_read(&to_svsm_device(dev)->stats.field));	\
}											\
static DEVICE_ATTR_RO(file)

FIGURE(calls, calls);
FIGURE(slices, slices);
FIGURE(incomplete, incomplete);
FIGURE(busy, busy);
FIGURE(repeated, repeated);
FIGURE(slice_max, slice_max_ns);
FIGURE(call_max, call_max_ns);

static ssize_t reset_store(struct device *dev, struct device_attribute *attr, const char *buf,
			   size_t count)
{
	struct svsm_stats *stats = &to_svsm_device(dev)->stats;

	atomic64_set(&stats->calls, 0);
	atomic64_set(&stats->slices, 0);
	atomic64_set(&stats->incomplete, 0);
	atomic64_set(&stats->busy, 0);
	atomic64_set(&stats->repeated, 0);
	atomic64_set(&stats->slice_max, 0);
	atomic64_set(&stats->call_max, 0);
	return count;
}
static DEVICE_ATTR_WO(reset);

static struct attribute *svsm_stats_attrs[] = {
	&dev_attr_calls.attr,
	&dev_attr_slices.attr,
	&dev_attr_incomplete.attr,
	&dev_attr_busy.attr,
	&dev_attr_repeated.attr,
	&dev_attr_slice_max_ns.attr,
	&dev_attr_call_max_ns.attr,
	&dev_attr_reset.attr,
	NULL
};

const struct attribute_group svsm_stats_group = {
	.name = "statistics",
	.attrs = svsm_stats_attrs,
};
