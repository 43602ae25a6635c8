# PolicySecret: knowing another entity's authorization value opens.
. "${0%/*}/lib.sh"

echo "a secret" >secret
primary
many_tries
tpm create -Q -C primary.ctx -i secret -p other -u other.pub -r other.priv -a "fixedtpm|fixedparent|userwithauth"
tpm load -Q -C primary.ctx -u other.pub -r other.priv -c other.ctx -n other.name
tpm startauthsession -Q -S trial.ctx
tpm policysecret -Q -S trial.ctx -c other.ctx -L policy other
tpm flushcontext trial.ctx
equal policy "$(digest sha256 "$(policy_step $ZERO_256 00000151 "$(hex other.name)")")" "$(hex policy)"

tpm create -Q -C primary.ctx -i secret -L policy -u pub -r priv
tpm load -Q -C primary.ctx -u pub -r priv -c seal.ctx
tpm startauthsession -Q --policy-session -S session.ctx
tpm policysecret -Q -S session.ctx -c other.ctx other
tpm unseal -c seal.ctx -p session:session.ctx -o out
same secret out
tpm flushcontext session.ctx

step "a wrong password"
tpm startauthsession -Q --policy-session -S session.ctx
refused $AUTH_FAIL tpm policysecret -Q -S session.ctx -c other.ctx wrong
refused $POLICY_FAIL tpm unseal -c seal.ctx -p session:session.ctx
tpm flushcontext session.ctx

step "a hierarchy's authorization"
tpm startauthsession -Q -S trial.ctx
tpm policysecret -Q -S trial.ctx -c owner -L policy
tpm flushcontext trial.ctx
equal policy "$(digest sha256 "$(policy_step $ZERO_256 00000151 40000001)")" "$(hex policy)"
tpm create -Q -C primary.ctx -i secret -L policy -u pub -r priv
tpm load -Q -C primary.ctx -u pub -r priv -c seal.ctx
tpm changeauth -Q -c owner owner-password
tpm startauthsession -Q --policy-session -S session.ctx
refused $BAD_AUTH tpm policysecret -Q -S session.ctx -c owner wrong
tpm policysecret -Q -S session.ctx -c owner owner-password
tpm unseal -c seal.ctx -p session:session.ctx -o out
same secret out
tpm flushcontext session.ctx
tpm changeauth -Q -c owner -p owner-password
