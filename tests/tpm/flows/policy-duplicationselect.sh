# PolicyDuplicationSelect: an object may go to one new parent and no other.
. "${0%/*}/lib.sh"

primary
tpm create -Q -C primary.ctx -G ecc -u new.pub -r new.priv -a "restricted|decrypt|fixedtpm|fixedparent|sensitivedataorigin|userwithauth"
tpm load -Q -C primary.ctx -u new.pub -r new.priv -c new.ctx -n new.name
tpm startauthsession -Q -S trial.ctx
tpm policyduplicationselect -Q -S trial.ctx -N new.name -L policy
tpm flushcontext trial.ctx
equal policy "$(policy_step $ZERO_256 00000188 "$(hex new.name)00")" "$(hex policy)"

echo "a secret" >secret
tpm create -Q -C primary.ctx -i secret -L policy -u pub -r priv -a "userwithauth"
tpm load -Q -C primary.ctx -u pub -r priv -c seal.ctx -n seal.name
tpm startauthsession -Q --policy-session -S session.ctx
tpm policyduplicationselect -Q -S session.ctx -n seal.name -N new.name
tpm duplicate -Q -C new.ctx -c seal.ctx -G null -p session:session.ctx -r dup -s dup.seed
tpm flushcontext session.ctx
tpm import -Q -C new.ctx -u pub -i dup -s dup.seed -r priv2
tpm load -Q -C new.ctx -u pub -r priv2 -c moved.ctx
tpm unseal -c moved.ctx -o out
same secret out

step "to another parent"
tpm startauthsession -Q --policy-session -S session.ctx
tpm policyduplicationselect -Q -S session.ctx -n seal.name -N new.name
refused $POLICY_FAIL tpm duplicate -Q -C primary.ctx -c seal.ctx -G null -p session:session.ctx -r dup2 -s dup2.seed
tpm flushcontext session.ctx
