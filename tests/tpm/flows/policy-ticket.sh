# PolicyTicket: a PolicySigned or PolicySecret that lasts for a while, for later sessions.
. "${0%/*}/lib.sh"

echo "a secret" >secret
primary
openssl genrsa -out key.pem 2048 2>/dev/null
openssl pkey -in key.pem -pubout -out key.pub.pem
tpm loadexternal -Q -C o -G rsa -u key.pub.pem -c key.ctx -n key.name

step "PolicySigned for an hour: a negative expiration asks for a ticket"
tpm startauthsession -Q --policy-session -S session.ctx
tpm policysigned -Q -S session.ctx -c key.ctx -x --raw-data to_sign -t -3600
openssl dgst -sha256 -sign key.pem -out signature to_sign
tpm policysigned -Q -S session.ctx -x -g sha256 -f rsassa -s signature -c key.ctx -t -3600 \
    --ticket ticket --timeout timeout -L policy
tpm flushcontext session.ctx
tpm create -Q -C primary.ctx -i secret -L policy -u pub -r priv
tpm load -Q -C primary.ctx -u pub -r priv -c seal.ctx

tpm startauthsession -Q --policy-session -S session.ctx
tpm policyticket -Q -S session.ctx -n key.name --ticket ticket --timeout timeout
tpm unseal -c seal.ctx -p session:session.ctx -o out
same secret out
tpm flushcontext session.ctx

step "another name, another time"
tpm startauthsession -Q --policy-session -S session.ctx
tpm load -Q -C primary.ctx -u pub -r priv -c unused.ctx -n other.name
refused 0x5E0 tpm policyticket -Q -S session.ctx -n other.name --ticket ticket --timeout timeout
refused $POLICY_FAIL tpm unseal -c seal.ctx -p session:session.ctx
tpm flushcontext session.ctx

step "PolicySecret for an hour"
tpm startauthsession -Q --policy-session -S session.ctx
tpm policysecret -Q -S session.ctx -c owner -x -t -3600 --ticket ticket --timeout timeout -L policy
tpm flushcontext session.ctx
tpm create -Q -C primary.ctx -i secret -L policy -u pub -r priv
tpm load -Q -C primary.ctx -u pub -r priv -c seal.ctx
unhex 40000001 >owner.name
tpm startauthsession -Q --policy-session -S session.ctx
tpm policyticket -Q -S session.ctx -n owner.name --ticket ticket --timeout timeout
tpm unseal -c seal.ctx -p session:session.ctx -o out
same secret out
tpm flushcontext session.ctx

step "for two seconds"
tpm startauthsession -Q --policy-session -S session.ctx
tpm policysecret -Q -S session.ctx -c owner -x -t -2 --ticket ticket --timeout timeout
tpm flushcontext session.ctx
sleep 3
tpm startauthsession -Q --policy-session -S session.ctx
refused 0x1E3 tpm policyticket -Q -S session.ctx -n owner.name --ticket ticket --timeout timeout
tpm flushcontext session.ctx
