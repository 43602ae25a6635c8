# An object moves to another TPM, which publishes a storage key; nobody between can read it.
# needs: second
. "${0%/*}/lib.sh"

first=$TPM2TOOLS_TCTI
on() { # TCTI COMMAND...
    TPM2TOOLS_TCTI=$1
    shift
    export TPM2TOOLS_TCTI
    "$@"
    TPM2TOOLS_TCTI=$first
}
# It may be started already.
on "$TPM_SECOND" tpm startup -c || :
echo "a secret" >secret

for kind in rsa ecc; do
    step "a parent of the other TPM: $kind"
    on "$TPM_SECOND" tpm createprimary -Q -C o -G $kind -c new.ctx
    on "$TPM_SECOND" tpm readpublic -Q -c new.ctx -o new.pub -n new.name

    primary
    tpm loadexternal -Q -C n -u new.pub -c newparent.ctx -n newparent.name
    same new.name newparent.name
    tpm startauthsession -Q -S trial.ctx
    tpm policyduplicationselect -Q -S trial.ctx -N new.name -L policy
    tpm flushcontext trial.ctx
    tpm create -Q -C primary.ctx -i secret -p word -L policy -u pub -r priv -a userwithauth
    tpm load -Q -C primary.ctx -u pub -r priv -c seal.ctx -n seal.name
    tpm startauthsession -Q --policy-session -S session.ctx
    tpm policyduplicationselect -Q -S session.ctx -n seal.name -N new.name
    tpm duplicate -Q -C newparent.ctx -c seal.ctx -G null -p session:session.ctx -r dup -s seed
    tpm flushcontext session.ctx

    on "$TPM_SECOND" tpm import -Q -C new.ctx -u pub -i dup -s seed -r priv2
    on "$TPM_SECOND" tpm load -Q -C new.ctx -u pub -r priv2 -c moved.ctx
    on "$TPM_SECOND" tpm unseal -c moved.ctx -p word -o out
    same secret out
    step "not into a third parent"
    fails tpm import -Q -C primary.ctx -u pub -i dup -s seed -r priv3
done
