# Quote by an RSA key, checked by tpm2_checkquote and by openssl.
. "${0%/*}/lib.sh"

tpm createprimary -Q -C e -G rsa -c primary.ctx
for scheme in rsassa rsapss; do
    step $scheme
    tpm create -Q -C primary.ctx -G rsa2048:$scheme:null -u pub -r priv \
        -a "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign|restricted|noda"
    tpm load -Q -C primary.ctx -u pub -r priv -c key.ctx
    tpm readpublic -Q -c key.ctx -f pem -o key.pem
    tpm quote -Q --scheme $scheme -c key.ctx -l sha256:0,7,16+sha384:16 -q cafe0123 -g sha256 -m attest -s signature.tpm -o pcrs
    # The tool knows no PSS.
    if [ $scheme = rsassa ]; then
        tpm checkquote -Q -u key.pem -m attest -s signature.tpm -f pcrs -g sha256 -q cafe0123
    fi

    # The same by openssl: signature over what was attested
    tpm quote -Q --scheme $scheme -c key.ctx -l sha256:0,7,16+sha384:16 -q cafe0123 -g sha256 -m attest -s signature -f plain
    padding=pkcs1
    [ $scheme = rsassa ] || padding=pss
    openssl dgst -sha256 -verify key.pem -sigopt rsa_padding_mode:$padding -signature signature attest >&2
    equal "magic, type" ff5443478018 "$(hex attest | cut -c1-12)"
    case $(hex attest) in *0004cafe0123*) ;; *) die "the qualification is not in the quote" ;; esac
    # The quoted digest, which ends the structure: of the concatenated values, in the scheme's hash
    tpm pcrread -Q -o values sha256:0,7,16+sha384:16
    equal "PCR digest" "$(digest sha256 "$(hex values)")" "$(tail -c 32 attest | hex)"
    step "$scheme: not by the other scheme"
    other=rsapss
    [ $scheme = rsassa ] || other=rsassa
    fails tpm quote -Q --scheme $other -c key.ctx -l sha256:0 -g sha256 -m a -s s
done

step "another qualification, another key, another message"
tpm create -Q -C primary.ctx -G rsa2048:rsassa:null -u pub -r priv \
    -a "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign|restricted|noda"
tpm load -Q -C primary.ctx -u pub -r priv -c key.ctx
tpm readpublic -Q -c key.ctx -f pem -o key.pem
tpm quote -Q -c key.ctx -l sha256:0,7,16 -q cafe0123 -g sha256 -m attest -s signature.tpm -o pcrs
tpm checkquote -Q -u key.pem -m attest -s signature.tpm -f pcrs -g sha256 -q cafe0123
fails tpm checkquote -Q -u key.pem -m attest -s signature.tpm -f pcrs -g sha256 -q cafe0124
openssl genrsa 2048 2>/dev/null | openssl rsa -pubout -out other.pem 2>/dev/null
fails tpm checkquote -Q -u other.pem -m attest -s signature.tpm -f pcrs -g sha256 -q cafe0123
{ head -c 60 attest; printf x; tail -c +62 attest; } >bad
fails tpm checkquote -Q -u key.pem -m bad -s signature.tpm -f pcrs -g sha256 -q cafe0123
