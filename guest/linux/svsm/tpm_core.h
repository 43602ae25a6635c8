/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What drivers of TPMs use of the kernel's TPM code. It is exported, but declared in a header that
 * is not installed.
 */
#ifndef _SVSM_TPM_CORE_H
#define _SVSM_TPM_CORE_H

#include <linux/tpm.h>

struct tpm_chip *tpmm_chip_alloc(struct device *dev, const struct tpm_class_ops *ops);
int tpm_chip_register(struct tpm_chip *chip);
void tpm_chip_unregister(struct tpm_chip *chip);
int tpm2_probe(struct tpm_chip *chip);

#endif /* _SVSM_TPM_CORE_H */
