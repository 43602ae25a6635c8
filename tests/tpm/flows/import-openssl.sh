# Keys made by openssl, imported under a parent of the TPM: usable after any number of loads, with a password and a policy.
. "${0%/*}/lib.sh"

echo "a message" >message
many_tries
for parent in rsa ecc; do
    tpm createprimary -Q -C o -G $parent -c parent.ctx
    step "RSA below $parent"
    openssl genrsa -out key.pem 2048 2>/dev/null
    openssl pkey -in key.pem -pubout -out key.pub.pem
    tpm import -Q -C parent.ctx -G rsa -i key.pem -u pub -r priv -p word
    tpm load -Q -C parent.ctx -u pub -r priv -c key.ctx
    tpm sign -Q -c key.ctx -p word -g sha256 -s rsassa -f plain -o signature message
    openssl dgst -sha256 -verify key.pub.pem -signature signature message >&2
    refused $AUTH_FAIL tpm sign -Q -c key.ctx -p wrong -g sha256 -s rsassa -f plain -o s message

    step "ECC below $parent"
    openssl ecparam -name prime256v1 -genkey -noout -out key.pem
    openssl pkey -in key.pem -pubout -out key.pub.pem
    tpm import -Q -C parent.ctx -G ecc -i key.pem -u pub -r priv
    tpm load -Q -C parent.ctx -u pub -r priv -c key.ctx
    tpm sign -Q -c key.ctx -g sha256 -s ecdsa -f plain -o signature message
    openssl dgst -sha256 -verify key.pub.pem -signature signature message >&2

    step "AES below $parent"
    head -c 16 /dev/urandom >aes.key
    tpm import -Q -C parent.ctx -G aes -i aes.key -u pub -r priv
    tpm load -Q -C parent.ctx -u pub -r priv -c aes.ctx
    head -c 48 /dev/urandom >plain
    unhex 00112233445566778899aabbccddeeff >iv
    tpm encryptdecrypt -Q -c aes.ctx -G cfb -t iv -o cipher plain
    openssl enc -aes-128-cfb -K "$(hex aes.key)" -iv "$(hex iv)" -in plain -out expected
    same expected cipher
done

step "under another parent the blob does not load"
tpm createprimary -Q -C n -G ecc -c other.ctx
refused 0x1DF tpm load -Q -C other.ctx -u pub -r priv -c bad.ctx
