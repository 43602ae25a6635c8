# PolicyAuthorize: whoever has the key approves policies after the object was sealed.
. "${0%/*}/lib.sh"

echo "a secret" >secret
printf '20261201' >ref
tpm pcrreset 16
openssl genrsa -out key.pem 2048 2>/dev/null
openssl pkey -in key.pem -pubout -out key.pub.pem
tpm loadexternal -Q -C o -G rsa -u key.pub.pem -c key.ctx -n key.name

tpm startauthsession -Q -S trial.ctx
tpm policyauthorize -Q -S trial.ctx -L policy -n key.name -q ref
tpm flushcontext trial.ctx
expected=$(digest sha256 "$(policy_step $ZERO_256 0000016a "$(hex key.name)")$(hex ref)")
equal policy "$expected" "$(hex policy)"

primary
tpm create -Q -C primary.ctx -i secret -L policy -u pub -r priv
tpm load -Q -C primary.ctx -u pub -r priv -c seal.ctx

step "approve the present state"
tpm createpolicy -Q --policy-pcr -l sha256:16 -L approved
cat approved ref | openssl dgst -sha256 -sign key.pem -out signature
cat approved ref >message
tpm verifysignature -Q -c key.ctx -g sha256 -m message -s signature -f rsassa -t ticket

tpm startauthsession -Q --policy-session -S session.ctx
tpm policypcr -Q -S session.ctx -l sha256:16
tpm policyauthorize -Q -S session.ctx -i approved -n key.name -q ref -t ticket
tpm unseal -c seal.ctx -p session:session.ctx -o out
same secret out
tpm flushcontext session.ctx

step "another reference, a ticket that was tampered with"
tpm startauthsession -Q --policy-session -S session.ctx
tpm policypcr -Q -S session.ctx -l sha256:16
printf '20261202' >ref2
refused 0x4C4 tpm policyauthorize -Q -S session.ctx -i approved -n key.name -q ref2 -t ticket
{ head -c 20 ticket; printf '\377\376\375'; tail -c +24 ticket; } >bad
refused 0x4C4 tpm policyauthorize -Q -S session.ctx -i approved -n key.name -q ref -t bad
tpm flushcontext session.ctx

step "the state is another one than the approved"
tpm pcrextend 16:sha256=$ZERO_256
tpm startauthsession -Q --policy-session -S session.ctx
tpm policypcr -Q -S session.ctx -l sha256:16
refused 0x1C4 tpm policyauthorize -Q -S session.ctx -i approved -n key.name -q ref -t ticket
refused $POLICY_FAIL tpm unseal -c seal.ctx -p session:session.ctx
tpm flushcontext session.ctx

step "approve the new one"
tpm createpolicy -Q --policy-pcr -l sha256:16 -L approved
cat approved ref >message
openssl dgst -sha256 -sign key.pem -out signature message
tpm verifysignature -Q -c key.ctx -g sha256 -m message -s signature -f rsassa -t ticket
tpm startauthsession -Q --policy-session -S session.ctx
tpm policypcr -Q -S session.ctx -l sha256:16
tpm policyauthorize -Q -S session.ctx -i approved -n key.name -q ref -t ticket
tpm unseal -c seal.ctx -p session:session.ctx -o out
same secret out
tpm flushcontext session.ctx
