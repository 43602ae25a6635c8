# The digest of an audit session, computed beside the TPM, and signed.
. "${0%/*}/lib.sh"

tpm createprimary -Q -C e -G rsa -c primary.ctx
attestation_key ecc256:ecdsa-sha256:null

tpm startauthsession -Q --audit-session -S session.ctx
tpm getrandom -Q 8 -S session.ctx --cphash cphash --rphash rphash -o random
# cpHash = H(code || parameters), rpHash = H(rc || code || parameters)
equal cpHash "$(digest sha256 0000017b0008)" "$(tail -c 32 cphash | hex)"
equal rpHash "$(digest sha256 000000000000017b0008$(hex random))" "$(tail -c 32 rphash | hex)"
expected=$(digest sha256 "$ZERO_256$(tail -c 32 cphash | hex)$(tail -c 32 rphash | hex)")
tpm getsessionauditdigest -Q -c ak.ctx -g sha256 -f plain -s signature -m attest -S session.ctx
openssl dgst -sha256 -verify ak.pem -signature signature attest >&2
equal "magic, type" ff5443478016 "$(hex attest | cut -c1-12)"
equal "audit digest" "0020$expected" "$(tail -c 34 attest | hex)"

step "one command more"
tpm getrandom -Q 8 -S session.ctx --cphash cphash --rphash rphash -o random
expected=$(digest sha256 "$expected$(tail -c 32 cphash | hex)$(tail -c 32 rphash | hex)")
tpm getsessionauditdigest -Q -c ak.ctx -g sha256 -f plain -s signature -m attest -S session.ctx
equal "audit digest" "0020$expected" "$(tail -c 34 attest | hex)"
tpm flushcontext session.ctx
