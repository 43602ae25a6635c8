# Sealing to PCR values: unseals in the same state, not after one PCR moved, nor when it moves within the session.
. "${0%/*}/lib.sh"

echo "a secret" >secret
zero=$ZERO_256
one=$(digest sha256 "${zero}${zero}")
tpm pcrreset 16
tpm pcrread -Q -o pcrs sha256:16,23

step "the digest, computed twice"
tpm createpolicy -Q --policy-pcr -l sha256:16,23 -L policy
# TPM2_PolicyPCR: code, TPML_PCR_SELECTION, digest of the values
expected=$(policy_step $zero 0000017f "00000001000b03000081$(digest sha256 "$(hex pcrs)")")
equal policy "$expected" "$(hex policy)"

primary
tpm create -Q -C primary.ctx -i secret -L policy -u pub -r priv
tpm load -Q -C primary.ctx -u pub -r priv -c seal.ctx
tpm unseal -c seal.ctx -p pcr:sha256:16,23 -o out
same secret out

step "no session, another selection"
refused 0x12F tpm unseal -c seal.ctx
refused $POLICY_FAIL tpm unseal -c seal.ctx -p pcr:sha256:16

step "any PCR moves within the session, but for those that count no changes (16, 21, 22, 23)"
tpm startauthsession -Q --policy-session -S session.ctx
tpm policypcr -Q -S session.ctx -l sha256:16,23
tpm pcrextend 14:sha256=$zero
refused 0x128 tpm unseal -c seal.ctx -p session:session.ctx
tpm policyrestart -Q -S session.ctx
tpm policypcr -Q -S session.ctx -l sha256:16,23
tpm pcrextend 16:sha256=$zero
equal "PCR 16" "$one" "$(pcr sha256 16)"
tpm unseal -c seal.ctx -p session:session.ctx -o out
same secret out
tpm flushcontext session.ctx

step "the PCR has moved"
refused $POLICY_FAIL tpm unseal -c seal.ctx -p pcr:sha256:16,23

step "a session that names the wanted values is refused at once"
tpm startauthsession -Q --policy-session -S session.ctx
refused 0x1C4 tpm policypcr -Q -S session.ctx -l sha256:16,23 -f pcrs
tpm flushcontext session.ctx

step "back again"
tpm pcrreset 16
tpm unseal -c seal.ctx -p pcr:sha256:16,23 -o out
same secret out

step "SHA-384 bank, and two banks"
tpm createpolicy -Q --policy-pcr -l sha256:0,1+sha384:16 -L policy
tpm create -Q -C primary.ctx -i secret -L policy -u pub -r priv
tpm load -Q -C primary.ctx -u pub -r priv -c seal.ctx
tpm unseal -c seal.ctx -p pcr:sha256:0,1+sha384:16 -o out
same secret out
tpm pcrevent -Q 16 secret
refused $POLICY_FAIL tpm unseal -c seal.ctx -p pcr:sha256:0,1+sha384:16
