# PolicyOR: either of two branches opens, a third one does not; the order of the branches matters.
. "${0%/*}/lib.sh"

echo "a secret" >secret
tpm pcrreset 16
tpm createpolicy -Q --policy-pcr -l sha256:16 -L branch1
tpm pcrextend 16:sha256=$ZERO_256
tpm createpolicy -Q --policy-pcr -l sha256:16 -L branch2
tpm startauthsession -Q -S trial.ctx
tpm policyor -Q -S trial.ctx -L policy sha256:branch1,branch2
tpm flushcontext trial.ctx
equal policy "$(policy_step $ZERO_256 00000171 "$(hex branch1)$(hex branch2)")" "$(hex policy)"

primary
tpm create -Q -C primary.ctx -i secret -L policy -u pub -r priv
tpm load -Q -C primary.ctx -u pub -r priv -c seal.ctx

# Unseals by the branch of the present state of PCR 16, if it is one.
by_branch() {
    tpm startauthsession -Q --policy-session -S session.ctx
    tpm policypcr -Q -S session.ctx -l sha256:16
    "$@"
    tpm flushcontext session.ctx
}
opens() {
    tpm policyor -Q -S session.ctx sha256:branch1,branch2
    tpm unseal -c seal.ctx -p session:session.ctx -o out
    same secret out
}
by_branch opens
tpm pcrreset 16
by_branch opens

step "branches the other way round: the session takes them, the object does not"
turned() {
    tpm policyor -Q -S session.ctx sha256:branch2,branch1
    refused $POLICY_FAIL tpm unseal -c seal.ctx -p session:session.ctx
}
by_branch turned

step "neither branch"
tpm pcrextend 16:sha256=$(digest sha256 00)
neither() { refused 0x1C4 tpm policyor -Q -S session.ctx sha256:branch1,branch2; }
by_branch neither

step "eight branches are the most, two the fewest"
tpm startauthsession -Q -S trial.ctx
tpm policyor -Q -S trial.ctx sha256:branch1,branch2,branch1,branch2,branch1,branch2,branch1,branch2
fails tpm policyor -Q -S trial.ctx sha256:branch1,branch2,branch1,branch2,branch1,branch2,branch1,branch2,branch1
tpm flushcontext -l
