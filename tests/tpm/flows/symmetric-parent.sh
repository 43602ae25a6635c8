# A storage key that is symmetric, and objects below it.
. "${0%/*}/lib.sh"

echo "a secret" >secret
tpm createprimary -Q -C o -G aes128cfb -a "restricted|decrypt|fixedtpm|fixedparent|sensitivedataorigin|userwithauth" -c primary.ctx
tpm create -Q -C primary.ctx -i secret -p word -u pub -r priv
tpm load -Q -C primary.ctx -u pub -r priv -c seal.ctx
tpm unseal -c seal.ctx -p word -o out
same secret out
refused $AUTH_FAIL tpm unseal -c seal.ctx -p wrong
tpm create -Q -C primary.ctx -G ecc:ecdsa -u pub -r priv
tpm load -Q -C primary.ctx -u pub -r priv -c key.ctx
tpm sign -Q -c key.ctx -g sha256 -o signature secret
tpm verifysignature -Q -c key.ctx -g sha256 -m secret -s signature
