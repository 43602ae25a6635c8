# HMAC by a key of the TPM's, one command and a sequence, and by a key we know.
. "${0%/*}/lib.sh"

primary
printf 'abc' >short
head -c 5000 /dev/urandom >long
printf 'a key that we know' >secret
many_tries
for hash in sha256 sha384; do
    step "$hash"
    tpm create -Q -C primary.ctx -G hmac:$hash -u pub -r priv -p word
    tpm load -Q -C primary.ctx -u pub -r priv -c key.ctx
    tpm hmac -Q -c key.ctx -p word -o mac1 short
    tpm hmac -Q -c key.ctx -p word -o mac2 short
    same mac1 mac2
    tpm hmac -Q -c key.ctx -p word -o mac2 long
    not_same mac1 mac2
    refused $AUTH_FAIL tpm hmac -Q -c key.ctx -p wrong -o mac short
    refused $AUTH_FAIL tpm hmac -Q -c key.ctx -p wrong -o mac long
done

step "a key of our own"
tpm import -Q -C primary.ctx -G hmac -i secret -u pub -r priv
tpm load -Q -C primary.ctx -u pub -r priv -c key.ctx
for file in short long; do
    tpm hmac -Q -c key.ctx -o mac $file
    openssl dgst -sha256 -mac HMAC -macopt "hexkey:$(hex secret)" -binary -out expected $file
    same expected mac
done

step "not by another kind of key"
fails tpm hmac -Q -c primary.ctx -o mac short
