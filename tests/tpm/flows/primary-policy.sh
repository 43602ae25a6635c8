# SetPrimaryPolicy: a policy opens a hierarchy in place of its authorization value.
. "${0%/*}/lib.sh"

tpm pcrreset 16
tpm createpolicy -Q --policy-pcr -l sha256:16 -L policy
tpm setprimarypolicy -Q -C o -L policy -g sha256
tpm changeauth -Q -c o owner
tpm createprimary -Q -C o -P pcr:sha256:16 -G ecc -c key.ctx
tpm createprimary -Q -C o -P owner -G ecc -c key.ctx
refused $BAD_AUTH tpm createprimary -Q -C o -G ecc -c key.ctx
tpm pcrextend 16:sha256=$ZERO_256
refused $POLICY_FAIL tpm createprimary -Q -C o -P pcr:sha256:16 -G ecc -c key.ctx

step "a digest of the wrong size"
head -c 20 policy >short
refused 0x1D5 tpm setprimarypolicy -Q -C o -P owner -L short -g sha256

step "taken away"
tpm setprimarypolicy -Q -C o -P owner
tpm pcrreset 16
fails tpm createprimary -Q -C o -P pcr:sha256:16 -G ecc -c key.ctx
tpm changeauth -Q -c o -p owner
