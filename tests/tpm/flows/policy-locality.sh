# PolicyLocality: tools speak at locality 0.
. "${0%/*}/lib.sh"

echo "a secret" >secret
primary
tpm startauthsession -Q -S trial.ctx
tpm policylocality -Q -S trial.ctx -L policy0 zero
tpm policyrestart -Q -S trial.ctx
tpm policylocality -Q -S trial.ctx -L policy3 three
tpm flushcontext trial.ctx
equal "policy, locality 0" "$(policy_step $ZERO_256 0000016f 01)" "$(hex policy0)"
equal "policy, locality 3" "$(policy_step $ZERO_256 0000016f 08)" "$(hex policy3)"

seal() {
    tpm create -Q -C primary.ctx -i secret -L "$1" -u pub -r priv
    tpm load -Q -C primary.ctx -u pub -r priv -c seal.ctx
}
seal policy0
tpm startauthsession -Q --policy-session -S session.ctx
tpm policylocality -Q -S session.ctx zero
tpm unseal -c seal.ctx -p session:session.ctx -o out
same secret out
tpm flushcontext session.ctx

seal policy3
tpm startauthsession -Q --policy-session -S session.ctx
tpm policylocality -Q -S session.ctx three
refused 0x907 tpm unseal -c seal.ctx -p session:session.ctx
step "localities of one session only become fewer"
refused 0x1CD tpm policylocality -Q -S session.ctx zero
tpm flushcontext session.ctx
