# AES in all modes, 128 and 256 bits, against openssl in both directions.
. "${0%/*}/lib.sh"

tpm createprimary -Q -C o -G ecc -c primary.ctx
head -c 1024 /dev/urandom >plain
unhex 000102030405060708090a0b0c0d0e0f >iv
for bits in 128 256; do
    head -c $((bits / 8)) /dev/urandom >aes.key
    for mode in cfb cbc ctr ofb ecb; do
        step "$bits, $mode"
        # An external key of no mode takes any.
        tpm loadexternal -Q -C n -G aes -r aes.key -c aes.ctx
        iv="-t iv"
        siv="-iv $(hex iv)"
        [ $mode != ecb ] || { iv=; siv=; }
        # shellcheck disable=SC2086 # nothing at all for ECB
        tpm encryptdecrypt -Q -c aes.ctx -G $mode $iv -o cipher plain
        # shellcheck disable=SC2086
        openssl enc -aes-$bits-$mode -nopad -K "$(hex aes.key)" $siv -in plain -out expected
        same expected cipher
        # shellcheck disable=SC2086
        tpm encryptdecrypt -Q -d -c aes.ctx -G $mode $iv -o out cipher
        same plain out
    done
done

step "a key of the TPM's own, with a mode"
tpm create -Q -C primary.ctx -G aes128cbc -u pub -r priv
tpm load -Q -C primary.ctx -u pub -r priv -c key.ctx
tpm encryptdecrypt -Q -c key.ctx -t iv -o cipher plain
tpm encryptdecrypt -Q -d -c key.ctx -t iv -o out cipher
same plain out
refused 0x3C9 tpm encryptdecrypt -Q -c key.ctx -G cfb -t iv -o cipher plain

step "half a block"
head -c 24 plain >odd
fails tpm encryptdecrypt -Q -c key.ctx -t iv -o cipher odd
