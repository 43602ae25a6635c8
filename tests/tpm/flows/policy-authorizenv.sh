# PolicyAuthorizeNV: the policy is in an index and can be replaced there.
. "${0%/*}/lib.sh"

echo "a secret" >secret
primary
index=0x1500019
tpm startauthsession -Q -S trial.ctx
tpm policypassword -Q -S trial.ctx -L first
tpm policyrestart -Q -S trial.ctx
tpm policycommandcode -Q -S trial.ctx -L second TPM2_CC_Unseal
tpm flushcontext trial.ctx

store() {
    { unhex 000b; cat "$1"; } >stored
    tpm nvwrite -Q -C o -i stored $index
}
tpm nvdefine -Q -C o -s 34 -a "ownerread|ownerwrite|authread|authwrite" $index
store first
tpm startauthsession -Q -S trial.ctx
tpm policyauthorizenv -Q -S trial.ctx -C o -L policy $index
tpm flushcontext trial.ctx
tpm nvreadpublic $index >public
equal policy "$(policy_step $ZERO_256 00000192 "$(value public name)")" "$(hex policy)"
tpm create -Q -C primary.ctx -i secret -p word -L policy -u pub -r priv
tpm load -Q -C primary.ctx -u pub -r priv -c seal.ctx

step "by the first policy"
tpm startauthsession -Q --policy-session -S session.ctx
tpm policypassword -Q -S session.ctx
tpm policyauthorizenv -Q -S session.ctx -C o $index
tpm unseal -c seal.ctx -p session:session.ctx+word -o out
same secret out
tpm flushcontext session.ctx

step "replaced: the first policy no longer opens, the second does"
store second
tpm startauthsession -Q --policy-session -S session.ctx
tpm policypassword -Q -S session.ctx
refused 0x84 tpm policyauthorizenv -Q -S session.ctx -C o $index
tpm policyrestart -Q -S session.ctx
tpm policycommandcode -Q -S session.ctx TPM2_CC_Unseal
tpm policyauthorizenv -Q -S session.ctx -C o $index
tpm unseal -c seal.ctx -p session:session.ctx -o out
same secret out
tpm flushcontext session.ctx
tpm nvundefine -Q -C o $index
