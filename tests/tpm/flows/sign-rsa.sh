# RSASSA and RSAPSS, 2048 and 3072 bits, three hashes; openssl checks and is checked.
. "${0%/*}/lib.sh"

echo "a message" >message
echo "another message" >other
primary
for bits in 2048 3072; do
    tpm create -Q -C primary.ctx -G rsa$bits -u pub -r priv -a "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign|decrypt"
    tpm load -Q -C primary.ctx -u pub -r priv -c key.ctx
    tpm readpublic -Q -c key.ctx -f pem -o key.pem
    openssl pkey -pubin -in key.pem -noout -text >text
    has text "($bits bit)"
    has text "Exponent: 65537"
    for hash in sha1 sha256 sha384 sha512; do
        for scheme in rsassa rsapss; do
            step "$bits, $scheme, $hash"
            padding=pkcs1
            [ $scheme = rsassa ] || padding=pss
            tpm sign -Q -c key.ctx -g $hash -s $scheme -f plain -o signature message
            openssl dgst -$hash -verify key.pem -sigopt rsa_padding_mode:$padding -signature signature message >&2
            tpm verifysignature -Q -c key.ctx -g $hash -f $scheme -m message -s signature -t ticket
            refused 0x2DB tpm verifysignature -Q -c key.ctx -g $hash -f $scheme -m other -s signature
        done
    done
done

step "a key with a scheme of its own takes no other"
tpm create -Q -C primary.ctx -G rsa2048:rsassa-sha256:null -u pub -r priv
tpm load -Q -C primary.ctx -u pub -r priv -c key.ctx
openssl dgst -sha256 -binary -out digest message
fails tpm sign -Q -c key.ctx -g sha256 -s rsapss -o s message
fails tpm sign -Q -c key.ctx -g sha384 -s rsassa -o s message

step "a digest of the wrong length"
head -c 20 digest >short
fails tpm sign -Q -c key.ctx -g sha256 -s rsassa -d -o s short

step "a decryption key signs nothing"
fails tpm sign -Q -c primary.ctx -g sha256 -o s message

step "a restricted key signs digests of the TPM's own making only"
attestation_key rsa2048:rsassa-sha256:null
fails tpm sign -Q -c ak.ctx -g sha256 -d -o s digest
tpm hash -Q -C o -g sha256 -o digest -t ticket message
tpm sign -Q -c ak.ctx -g sha256 -d -t ticket -f plain -o signature digest
openssl dgst -sha256 -verify ak.pem -signature signature message >&2
printf '\377TCGx' >looks-like
tpm hash -Q -C o -g sha256 -o digest -t ticket looks-like
fails tpm sign -Q -c ak.ctx -g sha256 -d -t ticket -o s digest
