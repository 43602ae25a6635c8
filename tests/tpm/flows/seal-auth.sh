# A sealed object's password: right, wrong, changed. A wrong one counts against dictionary attack unless noda is set.
. "${0%/*}/lib.sh"

echo "a secret" >secret
many_tries
primary
tpm create -Q -C primary.ctx -i secret -p word -u pub -r priv -a "fixedtpm|fixedparent|userwithauth"
tpm load -Q -C primary.ctx -u pub -r priv -c seal.ctx
tpm unseal -c seal.ctx -p word -o out
same secret out
equal "lockout counter" 0 "$(property TPM2_PT_LOCKOUT_COUNTER)"
refused $AUTH_FAIL tpm unseal -c seal.ctx -p wrong
refused $AUTH_FAIL tpm unseal -c seal.ctx
equal "lockout counter" 2 "$(property TPM2_PT_LOCKOUT_COUNTER)"

step "in an HMAC session"
tpm startauthsession --hmac-session -S session.ctx
tpm unseal -c seal.ctx -p session:session.ctx+word -o out
same secret out
refused $AUTH_FAIL tpm unseal -c seal.ctx -p session:session.ctx+wrong
tpm flushcontext session.ctx

step "noda"
tpm create -Q -C primary.ctx -i secret -p word -u pub2 -r priv2 -a "fixedtpm|fixedparent|userwithauth|noda"
tpm load -Q -C primary.ctx -u pub2 -r priv2 -c seal2.ctx
before=$(property TPM2_PT_LOCKOUT_COUNTER)
refused $BAD_AUTH tpm unseal -c seal2.ctx -p wrong
equal "lockout counter" "$before" "$(property TPM2_PT_LOCKOUT_COUNTER)"

step "another password: the new private part has it, the old one keeps its own"
tpm changeauth -Q -C primary.ctx -c seal2.ctx -p word -r priv3 new
tpm load -Q -C primary.ctx -u pub2 -r priv3 -c seal3.ctx
tpm unseal -c seal3.ctx -p new -o out
same secret out
refused $BAD_AUTH tpm unseal -c seal3.ctx -p word
tpm unseal -c seal2.ctx -p word -o out
same secret out

step "trailing zero bytes of a password do not count"
tpm create -Q -C primary.ctx -i secret -p hex:0102030000 -u pub4 -r priv4 -a "fixedtpm|fixedparent|userwithauth|noda"
tpm load -Q -C primary.ctx -u pub4 -r priv4 -c seal4.ctx
tpm unseal -c seal4.ctx -p hex:010203 -o out
same secret out
refused $BAD_AUTH tpm unseal -c seal4.ctx -p hex:0102
