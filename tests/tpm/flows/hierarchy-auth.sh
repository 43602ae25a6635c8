# Authorization values of the hierarchies: set, asked for, changed, gone with Clear.
# needs: platform fresh
. "${0%/*}/lib.sh"

for hierarchy in o e; do
    step "hierarchy $hierarchy"
    tpm changeauth -Q -c $hierarchy first
    refused $BAD_AUTH tpm createprimary -Q -C $hierarchy -G ecc -c key.ctx
    refused $BAD_AUTH tpm createprimary -Q -C $hierarchy -P second -G ecc -c key.ctx
    tpm createprimary -Q -C $hierarchy -P first -G ecc -c key.ctx
    tpm changeauth -Q -c $hierarchy -p first second
    refused $BAD_AUTH tpm createprimary -Q -C $hierarchy -P first -G ecc -c key.ctx
    tpm createprimary -Q -C $hierarchy -P second -G ecc -c key.ctx
done
step "platform"
tpm changeauth -Q -c p platform
refused $BAD_AUTH tpm createprimary -Q -C p -G ecc -c key.ctx
tpm createprimary -Q -C p -P platform -G ecc -c key.ctx
tpm changeauth -Q -c p -p platform

step "lockout: wrong is counted, and once is too often"
tpm changeauth -Q -c l lockout
tpm dictionarylockout -Q -s -n 5 -t 60 -l 60 -p lockout
refused $AUTH_FAIL tpm clear -Q wrong
refused $LOCKOUT tpm clear -Q lockout
equal "lockout counter" 0 "$(property TPM2_PT_LOCKOUT_COUNTER)"

step "the flags say what is set"
tpm getcap properties-variable >properties
has properties 'ownerAuthSet: *1'
has properties 'endorsementAuthSet: *1'
has properties 'lockoutAuthSet: *1'

step "Clear by the platform sets all but its own to empty"
tpm clear -Q -c p
tpm getcap properties-variable >properties
has properties 'ownerAuthSet: *0'
has properties 'endorsementAuthSet: *0'
has properties 'lockoutAuthSet: *0'
tpm createprimary -Q -C o -G ecc -c key.ctx
