# PolicyAuthValue and PolicyPassword: one digest; the session proves the password by HMAC, or says it.
. "${0%/*}/lib.sh"

echo "a secret" >secret
primary
many_tries
for kind in authvalue password; do
    tpm startauthsession -Q -S trial.ctx
    tpm policy$kind -Q -S trial.ctx -L $kind.policy
    tpm flushcontext trial.ctx
    # TPM2_PolicyPassword extends with the code of TPM2_PolicyAuthValue.
    equal policy "$(policy_step $ZERO_256 0000016b)" "$(hex $kind.policy)"
done

tpm create -Q -C primary.ctx -i secret -p word -L authvalue.policy -u pub -r priv -a "fixedtpm|fixedparent"
tpm load -Q -C primary.ctx -u pub -r priv -c seal.ctx
for kind in authvalue password; do
    step $kind
    tpm startauthsession -Q --policy-session -S session.ctx
    tpm policy$kind -Q -S session.ctx
    tpm unseal -c seal.ctx -p session:session.ctx+word -o out
    same secret out
    tpm flushcontext session.ctx
    tpm startauthsession -Q --policy-session -S session.ctx
    tpm policy$kind -Q -S session.ctx
    refused $AUTH_FAIL tpm unseal -c seal.ctx -p session:session.ctx+wrong
    tpm flushcontext session.ctx
done

step "the password without a session: userWithAuth is clear"
refused 0x12F tpm unseal -c seal.ctx -p word

step "a session without the step"
tpm startauthsession -Q --policy-session -S session.ctx
refused $POLICY_FAIL tpm unseal -c seal.ctx -p session:session.ctx+word
tpm flushcontext session.ctx
