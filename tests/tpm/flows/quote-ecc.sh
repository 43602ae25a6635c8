# Quote by ECC keys on both curves, with SHA-256 and SHA-384; a PCR that moves changes what is quoted.
. "${0%/*}/lib.sh"

tpm createprimary -Q -C e -G ecc -c primary.ctx
tpm pcrreset 16
for kind in ecc256:sha256 ecc384:sha384 ecc256:sha384; do
    curve=${kind%:*}
    hash=${kind#*:}
    step "$curve, $hash"
    tpm create -Q -C primary.ctx -G "$curve:ecdsa-$hash:null" -u pub -r priv \
        -a "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign|restricted|noda"
    tpm load -Q -C primary.ctx -u pub -r priv -c key.ctx
    tpm readpublic -Q -c key.ctx -f pem -o key.pem
    tpm quote -Q -c key.ctx -l sha256:16,17 -q 1234 -g "$hash" -m attest -s signature.tpm -o pcrs
    tpm checkquote -Q -u key.pem -m attest -s signature.tpm -f pcrs -g "$hash" -q 1234
    tpm quote -Q -c key.ctx -l sha256:16,17 -q 1234 -g "$hash" -m attest -s signature -f plain
    openssl dgst "-$hash" -verify key.pem -signature signature attest >&2
    tpm pcrread -Q -o values sha256:16,17
    equal "PCR digest" "$(digest "$hash" "$(hex values)")" "$(tail -c $((${#hash} == 6 && ${hash#sha} == 384 ? 48 : 32)) attest | hex)"
done

step "a PCR moves"
before=$(tail -c 32 attest | hex)
tpm pcrextend 16:sha256=$ZERO_256
tpm quote -Q -c key.ctx -l sha256:16,17 -q 1234 -g sha384 -m attest -s signature -f plain
differ "PCR digest" "$before" "$(tail -c 32 attest | hex)"

step "a restricted key does not sign what looks like an attestation, nor without a ticket"
fails tpm sign -Q -c key.ctx -g sha384 -o signature attest

step "a decryption key does not quote"
refused 0x19C tpm quote -Q -c primary.ctx -l sha256:16 -m attest -s signature -f plain
