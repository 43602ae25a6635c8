# PolicyCommandCode: the session is good for one command only.
. "${0%/*}/lib.sh"

echo "a secret" >secret
primary
tpm startauthsession -Q -S trial.ctx
tpm policycommandcode -Q -S trial.ctx -L policy TPM2_CC_Unseal
refused 0x1C4 tpm policycommandcode -Q -S trial.ctx TPM2_CC_Sign
tpm flushcontext trial.ctx
equal policy "$(policy_step $ZERO_256 0000016c 0000015e)" "$(hex policy)"

tpm create -Q -C primary.ctx -i secret -L policy -u pub -r priv
tpm load -Q -C primary.ctx -u pub -r priv -c seal.ctx
tpm startauthsession -Q --policy-session -S session.ctx
tpm policycommandcode -Q -S session.ctx TPM2_CC_Unseal
tpm unseal -c seal.ctx -p session:session.ctx -o out
same secret out
tpm flushcontext session.ctx

step "a session for another command"
tpm startauthsession -Q --policy-session -S session.ctx
tpm policycommandcode -Q -S session.ctx TPM2_CC_NV_Read
refused $POLICY_FAIL tpm unseal -c seal.ctx -p session:session.ctx
tpm flushcontext session.ctx

step "a session for any command has another digest"
tpm startauthsession -Q --policy-session -S session.ctx
refused $POLICY_FAIL tpm unseal -c seal.ctx -p session:session.ctx
tpm flushcontext session.ctx

step "a key that may certify but not sign"
tpm startauthsession -Q -S trial.ctx
tpm policycommandcode -Q -S trial.ctx -L policy TPM2_CC_Certify
tpm flushcontext trial.ctx
tpm create -Q -C primary.ctx -G ecc:ecdsa -L policy -u pub -r priv -a "fixedtpm|fixedparent|sensitivedataorigin|sign"
tpm load -Q -C primary.ctx -u pub -r priv -c key.ctx
tpm startauthsession -Q --policy-session -S session.ctx
tpm policycommandcode -Q -S session.ctx TPM2_CC_Certify
refused $POLICY_CC tpm sign -Q -c key.ctx -p session:session.ctx -g sha256 -o signature secret
tpm certify -Q -c primary.ctx -C key.ctx -p session:session.ctx -g sha256 -o attest -s signature
tpm flushcontext session.ctx
