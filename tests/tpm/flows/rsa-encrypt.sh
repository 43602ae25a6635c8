# RSA encryption: OAEP, RSAES and none, against openssl in both directions.
. "${0%/*}/lib.sh"

echo "a secret message" >message
primary
tpm create -Q -C primary.ctx -G rsa2048 -p word -u pub -r priv -a "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|decrypt"
tpm load -Q -C primary.ctx -u pub -r priv -c key.ctx
tpm readpublic -Q -c key.ctx -f pem -o key.pem
many_tries

for scheme in rsaes oaep-sha1 oaep-sha256; do
    step $scheme
    case $scheme in
    rsaes) options="-pkeyopt rsa_padding_mode:pkcs1"; ours=rsaes ;;
    oaep-*) options="-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:${scheme#oaep-} -pkeyopt rsa_mgf1_md:${scheme#oaep-}"; ours=$scheme ;;
    esac
    # shellcheck disable=SC2086 # options are several words
    openssl pkeyutl -encrypt -pubin -inkey key.pem $options -in message -out cipher
    tpm rsadecrypt -Q -c key.ctx -p word -s $ours -o out cipher
    same message out
    tpm rsaencrypt -Q -c key.ctx -s $ours -o cipher message
    tpm rsadecrypt -Q -c key.ctx -p word -s $ours -o out cipher
    same message out
    tpm rsaencrypt -Q -c key.ctx -s $ours -o cipher2 message
    not_same cipher cipher2
    refused $AUTH_FAIL tpm rsadecrypt -Q -c key.ctx -p wrong -s $ours cipher
    step "$scheme, tampered with"
    { head -c 255 cipher; printf '\001'; } >bad
    fails tpm rsadecrypt -Q -c key.ctx -p word -s $ours bad
done

step "OAEP with a label"
tpm rsaencrypt -Q -c key.ctx -s oaep-sha256 -l label -o cipher message
tpm rsadecrypt -Q -c key.ctx -p word -s oaep-sha256 -l label -o out cipher
same message out
fails tpm rsadecrypt -Q -c key.ctx -p word -s oaep-sha256 -l lapel cipher

step "no padding: the number itself"
{ printf '\0'; head -c 255 /dev/urandom; } >number
tpm rsaencrypt -Q -c key.ctx -s null -o cipher number
openssl pkeyutl -encrypt -pubin -inkey key.pem -pkeyopt rsa_padding_mode:none -in number -out expected
same expected cipher
tpm rsadecrypt -Q -c key.ctx -p word -s null -o out cipher
same number out

step "a number as large as the modulus"
head -c 256 /dev/zero | tr '\0' '\377' >number
fails tpm rsaencrypt -Q -c key.ctx -s null -o cipher number
