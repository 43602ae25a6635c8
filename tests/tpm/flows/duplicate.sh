# An object moves between two parents, with an inner key and without.
. "${0%/*}/lib.sh"

tpm createprimary -Q -C o -G ecc -c primary.ctx
tpm createprimary -Q -C o -G rsa -c new.ctx
tpm startauthsession -Q -S trial.ctx
tpm policycommandcode -Q -S trial.ctx -L policy TPM2_CC_Duplicate
tpm flushcontext trial.ctx
echo "a message" >message

session() {
    tpm startauthsession -Q --policy-session -S session.ctx
    tpm policycommandcode -Q -S session.ctx TPM2_CC_Duplicate
}
tpm create -Q -C primary.ctx -G ecc:ecdsa -p word -L policy -u pub -r priv -a "sensitivedataorigin|userwithauth|sign"
tpm load -Q -C primary.ctx -u pub -r priv -c key.ctx
tpm readpublic -Q -c key.ctx -f pem -o key.pem

moved() {
    tpm load -Q -C new.ctx -u pub -r priv2 -c moved.ctx
    tpm sign -Q -c moved.ctx -p word -g sha256 -f plain -o signature message
    openssl dgst -sha256 -verify key.pem -signature signature message >&2
}
step "outer wrapping only"
session
tpm duplicate -Q -C new.ctx -c key.ctx -G null -p session:session.ctx -r dup -s seed
tpm flushcontext session.ctx
tpm import -Q -C new.ctx -u pub -i dup -s seed -r priv2
moved

step "with an inner key of ours"
head -c 16 /dev/urandom >inner
session
tpm duplicate -Q -C new.ctx -c key.ctx -G aes -i inner -p session:session.ctx -r dup -s seed
tpm flushcontext session.ctx
tpm import -Q -C new.ctx -u pub -i dup -s seed -k inner -r priv2
moved
step "another inner key"
head -c 16 /dev/urandom >wrong
fails tpm import -Q -C new.ctx -u pub -i dup -s seed -k wrong -r priv3

step "with an inner key of the TPM's"
session
tpm duplicate -Q -C new.ctx -c key.ctx -G aes -o inner -p session:session.ctx -r dup -s seed
tpm flushcontext session.ctx
tpm import -Q -C new.ctx -u pub -i dup -s seed -k inner -r priv2
moved

step "a flipped bit of the outer wrapping"
size=$(wc -c <dup)
last=$(hex dup | cut -c$((size * 2 - 1))-)
{ head -c $((size - 1)) dup; unhex "$(env printf %02x $((0x$last ^ 1)))"; } >bad
fails tpm import -Q -C new.ctx -u pub -i bad -s seed -k inner -r priv3

step "the wrong parent"
fails tpm import -Q -C primary.ctx -u pub -i dup -s seed -k inner -r priv3

step "a key that is fixed to its parent"
tpm create -Q -C primary.ctx -G ecc:ecdsa -L policy -u pub -r priv -a "fixedparent|fixedtpm|sensitivedataorigin|userwithauth|sign"
tpm load -Q -C primary.ctx -u pub -r priv -c key.ctx
session
refused 0x182 tpm duplicate -Q -C new.ctx -c key.ctx -G null -p session:session.ctx -r dup -s seed
tpm flushcontext session.ctx

step "a parent that brings its child along"
tpm create -Q -C primary.ctx -G ecc -L policy -u parent.pub -r parent.priv -a "restricted|decrypt|sensitivedataorigin|userwithauth"
tpm load -Q -C primary.ctx -u parent.pub -r parent.priv -c parent.ctx
echo "a secret" >secret
tpm create -Q -C parent.ctx -i secret -u child.pub -r child.priv -a "fixedparent|userwithauth"
session
tpm duplicate -Q -C new.ctx -c parent.ctx -G null -p session:session.ctx -r dup -s seed
tpm flushcontext session.ctx
tpm import -Q -C new.ctx -u parent.pub -i dup -s seed -r priv2
tpm load -Q -C new.ctx -u parent.pub -r priv2 -c moved.ctx
tpm load -Q -C moved.ctx -u child.pub -r child.priv -c child.ctx
tpm unseal -c child.ctx -o out
same secret out
