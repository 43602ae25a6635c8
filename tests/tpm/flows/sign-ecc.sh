# ECDSA and ECSchnorr on both curves; openssl checks ECDSA and is checked.
. "${0%/*}/lib.sh"

echo "a message" >message
echo "another message" >other
primary
for curve in ecc256 ecc384; do
    tpm create -Q -C primary.ctx -G $curve -u pub -r priv -a "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign"
    tpm load -Q -C primary.ctx -u pub -r priv -c key.ctx
    tpm readpublic -Q -c key.ctx -f pem -o key.pem
    for hash in sha1 sha256 sha384 sha512; do
        step "$curve, ECDSA, $hash"
        tpm sign -Q -c key.ctx -g $hash -s ecdsa -f plain -o signature message
        openssl dgst -$hash -verify key.pem -signature signature message >&2
        tpm sign -Q -c key.ctx -g $hash -s ecdsa -o signature.tpm message
        tpm verifysignature -Q -c key.ctx -g $hash -m message -s signature.tpm
        refused 0x2DB tpm verifysignature -Q -c key.ctx -g $hash -m other -s signature.tpm
    done
    step "$curve, ECSchnorr"
    tpm sign -Q -c key.ctx -g sha256 -s ecschnorr -o signature.tpm message
    tpm verifysignature -Q -c key.ctx -g sha256 -m message -s signature.tpm
    refused 0x2DB tpm verifysignature -Q -c key.ctx -g sha256 -m other -s signature.tpm
    step "two signatures of one message differ"
    tpm sign -Q -c key.ctx -g sha256 -s ecschnorr -o signature2.tpm message
    not_same signature.tpm signature2.tpm
done
