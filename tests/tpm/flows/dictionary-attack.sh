# Dictionary attack: the limit, what still works, the way out, and time.
. "${0%/*}/lib.sh"

echo "a secret" >secret
primary
tpm create -Q -C primary.ctx -i secret -p word -u pub -r priv -a "fixedtpm|fixedparent|userwithauth"
tpm load -Q -C primary.ctx -u pub -r priv -c seal.ctx
tpm create -Q -C primary.ctx -i secret -p word -u pub2 -r priv2 -a "fixedtpm|fixedparent|userwithauth|noda"
tpm load -Q -C primary.ctx -u pub2 -r priv2 -c noda.ctx
tpm dictionarylockout -Q -s -n 3 -t 1000 -l 1000
equal "max tries" 3 "$(property TPM2_PT_MAX_AUTH_FAIL)"
equal "interval" 1000 "$(property TPM2_PT_LOCKOUT_INTERVAL)"
equal "recovery" 1000 "$(property TPM2_PT_LOCKOUT_RECOVERY)"

for tries in 1 2 3; do
    refused $AUTH_FAIL tpm unseal -c seal.ctx -p wrong
    equal "lockout counter" $tries "$(property TPM2_PT_LOCKOUT_COUNTER)"
done
step "locked out, even with the right password"
refused $LOCKOUT tpm unseal -c seal.ctx -p word
tpm getcap properties-variable >properties
has properties 'inLockout: *1'
step "what is not subject to it goes on"
tpm unseal -c noda.ctx -p word -o out
same secret out
refused $BAD_AUTH tpm unseal -c noda.ctx -p wrong
equal "lockout counter" 3 "$(property TPM2_PT_LOCKOUT_COUNTER)"

step "the lockout authority sets it back"
tpm dictionarylockout -Q -c
equal "lockout counter" 0 "$(property TPM2_PT_LOCKOUT_COUNTER)"
tpm unseal -c seal.ctx -p word -o out
same secret out

step "time heals"
tpm dictionarylockout -Q -s -n 2 -t 1 -l 1000
refused $AUTH_FAIL tpm unseal -c seal.ctx -p wrong
sleep 2
tpm unseal -c seal.ctx -p word -o out
equal "lockout counter" 0 "$(property TPM2_PT_LOCKOUT_COUNTER)"
