# Passwords of keys are changed; the old blob keeps the old one, a key without fixedparent too.
. "${0%/*}/lib.sh"

echo "a message" >message
primary
many_tries
tpm create -Q -C primary.ctx -G ecc:ecdsa -p old -u pub -r priv
tpm load -Q -C primary.ctx -u pub -r priv -c key.ctx -n name
refused $AUTH_FAIL tpm changeauth -Q -C primary.ctx -c key.ctx -p wrong -r priv2 new
tpm changeauth -Q -C primary.ctx -c key.ctx -p old -r priv2 new
tpm load -Q -C primary.ctx -u pub -r priv2 -c key2.ctx -n name2
same name name2
tpm sign -Q -c key2.ctx -p new -g sha256 -o signature message
refused $AUTH_FAIL tpm sign -Q -c key2.ctx -p old -g sha256 -o signature message
tpm sign -Q -c key.ctx -p old -g sha256 -o signature message

step "a longer one than the name algorithm allows"
fails tpm changeauth -Q -C primary.ctx -c key.ctx -p old -r priv3 hex:$ZERO_256$ZERO_256$ZERO_256

step "in an encrypted session"
tpm startauthsession -Q --hmac-session -c primary.ctx -S session.ctx
tpm sessionconfig -Q --enable-decrypt session.ctx
tpm changeauth -Q -C primary.ctx -c key.ctx -p session:session.ctx+old -r priv4 newer
tpm flushcontext session.ctx
tpm load -Q -C primary.ctx -u pub -r priv4 -c key4.ctx
tpm sign -Q -c key4.ctx -p newer -g sha256 -o signature message
