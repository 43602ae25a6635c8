# ECDH: a key agreed with the TPM's key is the one that openssl computes.
. "${0%/*}/lib.sh"

many_tries
for curve in ecc256:prime256v1:32 ecc384:secp384r1:48; do
    step "$curve"
    name=${curve#*:}
    size=${name#*:}
    name=${name%:*}
    tpm createprimary -Q -C o -G "${curve%%:*}:ecdh" -p word -c key.ctx -a "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|decrypt"
    tpm readpublic -Q -c key.ctx -f pem -o key.pem

    step "KeyGen and ZGen"
    tpm ecdhkeygen -Q -c key.ctx -u point -o secret
    tpm ecdhzgen -Q -c key.ctx -p word -u point -o secret2
    same secret secret2
    tpm ecdhkeygen -Q -c key.ctx -u point2 -o secret2
    not_same secret secret2
    refused $AUTH_FAIL tpm ecdhzgen -Q -c key.ctx -p wrong -u point -o secret3

    step "against openssl: its key, our ZGen"
    openssl ecparam -name "$name" -genkey -noout -out mine.pem
    openssl pkeyutl -derive -inkey mine.pem -peerkey key.pem -out expected
    # The public point, the end of the DER encoding, as TPM2B_ECC_POINT
    openssl pkey -in mine.pem -pubout -outform der | tail -c $((2 * size)) >xy
    short=$(env printf %04x "$size")
    unhex "$(env printf %04x $((2 * size + 4)))$short$(head -c "$size" xy | hex)$short$(tail -c "$size" xy | hex)" >point
    tpm ecdhzgen -Q -c key.ctx -p word -u point -o z
    # Z is a point; the agreed secret its x coordinate
    equal secret "$(hex expected)" "$(head -c $((4 + size)) z | tail -c "$size" | hex)"

    step "a point that is not on the curve"
    unhex "$(env printf %04x $((2 * size + 4)))$short$(tail -c "$size" xy | hex)$short$(head -c "$size" xy | hex)" >point
    refused 0x1E7 tpm ecdhzgen -Q -c key.ctx -p word -u point -o z
done
