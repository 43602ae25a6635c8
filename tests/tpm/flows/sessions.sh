# HMAC sessions: bound, salted, both; parameter encryption; wrong passwords; continued and ended.
. "${0%/*}/lib.sh"

echo "a secret" >secret
many_tries
for salt in rsa ecc; do
    tpm createprimary -Q -C o -G $salt -c $salt.ctx
done
tpm create -Q -C ecc.ctx -i secret -p word -u pub -r priv -a "fixedtpm|fixedparent|userwithauth"
tpm load -Q -C ecc.ctx -u pub -r priv -c seal.ctx

use() { # the session of session.ctx, twice
    tpm unseal -c seal.ctx -p session:session.ctx+word -o out
    same secret out
    tpm unseal -c seal.ctx -p session:session.ctx+word -o out
    same secret out
    refused $AUTH_FAIL tpm unseal -c seal.ctx -p session:session.ctx+wrong
    tpm flushcontext session.ctx
}
step "plain"
tpm startauthsession -Q --hmac-session -S session.ctx
use
for salt in rsa ecc; do
    step "salted by $salt, with encryption"
    tpm startauthsession -Q --hmac-session -c $salt.ctx -S session.ctx
    tpm sessionconfig -Q --enable-encrypt --enable-decrypt session.ctx
    use
done
for hash in sha1 sha256 sha384 sha512; do
    step "session hash $hash"
    tpm startauthsession -Q --hmac-session -g $hash -c ecc.ctx -S session.ctx
    tpm sessionconfig -Q --enable-encrypt session.ctx
    use
done
step "bound to the object itself: its authorization value comes from the binding"
tpm startauthsession -Q --hmac-session --bind-context seal.ctx --bind-auth word -S session.ctx
use
step "bound to another entity, and salted"
tpm startauthsession -Q --hmac-session --tpmkey-context rsa.ctx --bind-context ecc.ctx -S session.ctx
tpm sessionconfig -Q --enable-encrypt session.ctx
use
step "bound by a wrong password"
tpm startauthsession -Q --hmac-session --bind-context seal.ctx --bind-auth wrong -S session.ctx
refused $AUTH_FAIL tpm unseal -c seal.ctx -p session:session.ctx+word
tpm flushcontext session.ctx

step "the first parameter is encrypted: create and NV write"
tpm startauthsession -Q --hmac-session -c ecc.ctx -S session.ctx
tpm sessionconfig -Q --enable-decrypt --enable-encrypt session.ctx
tpm create -Q -C ecc.ctx -P session:session.ctx -i secret -p other -u pub2 -r priv2
tpm load -Q -C ecc.ctx -P session:session.ctx -u pub2 -r priv2 -c seal2.ctx
tpm unseal -c seal2.ctx -p other -o out
same secret out
tpm nvdefine -Q -C o -P session:session.ctx -s 9 -a "ownerread|ownerwrite" 0x1500040
tpm nvwrite -Q -C o -P session:session.ctx -i secret 0x1500040
tpm nvread -Q -C o -P session:session.ctx -o out 0x1500040
same secret out
tpm nvundefine -Q -C o 0x1500040
tpm flushcontext session.ctx

step "a policy session with encryption"
tpm startauthsession -Q --policy-session -c rsa.ctx -S session.ctx
tpm sessionconfig -Q --enable-encrypt session.ctx
tpm policyauthvalue -Q -S session.ctx
tpm policyrestart -Q -S session.ctx
tpm policypassword -Q -S session.ctx -L policy
tpm flushcontext session.ctx
tpm create -Q -C ecc.ctx -i secret -p word -L policy -u pub3 -r priv3 -a "fixedtpm|fixedparent"
tpm load -Q -C ecc.ctx -u pub3 -r priv3 -c seal3.ctx
tpm startauthsession -Q --policy-session -c rsa.ctx -S session.ctx
tpm sessionconfig -Q --enable-encrypt session.ctx
tpm policyauthvalue -Q -S session.ctx
tpm unseal -c seal3.ctx -p session:session.ctx+word -o out
same secret out
tpm flushcontext session.ctx

step "a session that does not continue is gone after its use"
tpm startauthsession -Q --hmac-session -S session.ctx
tpm sessionconfig -Q --disable-continuesession session.ctx
# The tool then fails to save it.
rm out
refused 0x910 tpm unseal -c seal.ctx -p session:session.ctx+word -o out
same secret out
tpm getcap handles-loaded-session >handles
has_not handles 0x
