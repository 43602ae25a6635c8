# PolicyNameHash: the session is good for one set of objects.
. "${0%/*}/lib.sh"

echo "a secret" >secret
primary
# A key that may be certified and may sign under a policy signed by an authority: the name is not known beforehand.
openssl genrsa -out key.pem 2048 2>/dev/null
openssl pkey -in key.pem -pubout -out key.pub.pem
tpm loadexternal -Q -C o -G rsa -u key.pub.pem -c key.ctx -n key.name
tpm startauthsession -Q -S trial.ctx
tpm policyauthorize -Q -S trial.ctx -L policy -n key.name
tpm flushcontext trial.ctx
tpm create -Q -C primary.ctx -i secret -L policy -u pub -r priv
tpm load -Q -C primary.ctx -u pub -r priv -c seal.ctx -n seal.name
tpm create -Q -C primary.ctx -i secret -L policy -u pub2 -r priv2
tpm load -Q -C primary.ctx -u pub2 -r priv2 -c seal2.ctx -n seal2.name

unhex "$(digest sha256 "$(hex seal.name)")" >names
tpm startauthsession -Q -S trial.ctx
tpm policynamehash -Q -S trial.ctx -L approved -n names
tpm flushcontext trial.ctx
equal policy "$(policy_step $ZERO_256 00000170 "$(hex names)")" "$(hex approved)"
openssl dgst -sha256 -sign key.pem -out signature approved
tpm verifysignature -Q -c key.ctx -g sha256 -m approved -s signature -f rsassa -t ticket

begin() {
    tpm startauthsession -Q --policy-session -S session.ctx
    tpm policynamehash -Q -S session.ctx -n names
    tpm policyauthorize -Q -S session.ctx -i approved -n key.name -t ticket
}
begin
tpm unseal -c seal.ctx -p session:session.ctx -o out
same secret out
tpm flushcontext session.ctx

step "another object with the same policy"
begin
refused $POLICY_FAIL tpm unseal -c seal2.ctx -p session:session.ctx
tpm flushcontext session.ctx
