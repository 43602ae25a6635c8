/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of svsm.ko share. */
#ifndef _SVSM_CALL_H
#define _SVSM_CALL_H

#include "svsm.h"

int svsm_call_init(void);
void svsm_call_exit(void);
int svsm_query_protocol(u32 protocol, u32 *min, u32 *max);

void svsm_stats_slice(struct svsm_stats *stats, u64 result, u64 nanoseconds);
void svsm_stats_call(struct svsm_stats *stats, u64 nanoseconds);
extern const struct attribute_group svsm_stats_group;

#endif /* _SVSM_CALL_H */
