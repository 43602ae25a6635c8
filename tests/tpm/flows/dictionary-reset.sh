# The failed tries survive a power cycle; a use without an orderly shutdown counts as one.
# needs: reset
. "${0%/*}/lib.sh"

echo "a secret" >secret
primary
tpm create -Q -C primary.ctx -i secret -p word -u pub -r priv -a "fixedtpm|fixedparent|userwithauth"
tpm dictionarylockout -Q -s -n 10 -t 1000 -l 1000
tpm load -Q -C primary.ctx -u pub -r priv -c seal.ctx
refused $AUTH_FAIL tpm unseal -c seal.ctx -p wrong
refused $AUTH_FAIL tpm unseal -c seal.ctx -p wrong
reset_tpm
equal "lockout counter" 2 "$(property TPM2_PT_LOCKOUT_COUNTER)"

step "power lost right after a wrong password"
primary
tpm load -Q -C primary.ctx -u pub -r priv -c seal.ctx
refused $AUTH_FAIL tpm unseal -c seal.ctx -p wrong
power_cycle
tpm startup -c
after=$(property TPM2_PT_LOCKOUT_COUNTER)
[ "$after" -ge 3 ] || die "$after failed tries after the power cycle, at least 3 were made"
tpm dictionarylockout -Q -c
