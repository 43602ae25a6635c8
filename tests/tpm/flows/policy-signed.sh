# PolicySigned: a signature made by openssl over the session's nonce opens; RSA and ECC; a wrong one does not.
. "${0%/*}/lib.sh"

echo "a secret" >secret
primary


for kind in rsa ecc; do
    step "$kind"
    if [ $kind = rsa ]; then
        openssl genrsa -out key.pem 2048 2>/dev/null
        format=rsassa
    else
        openssl ecparam -name prime256v1 -genkey -noout -out key.pem
        format=ecdsa
    fi
    openssl pkey -in key.pem -pubout -out key.pub.pem
    tpm loadexternal -Q -C o -G $kind -u key.pub.pem -c key.ctx -n key.name

    tpm startauthsession -Q -S trial.ctx
    printf '\0\0\0\0' | openssl dgst -sha256 -sign key.pem -out signature
    tpm policysigned -Q -S trial.ctx -g sha256 -f $format -s signature -c key.ctx -L policy
    tpm flushcontext trial.ctx
    # Two steps: code and name, then the (empty) policyRef.
    equal policy "$(digest sha256 "$(policy_step $ZERO_256 00000160 "$(hex key.name)")")" "$(hex policy)"

    tpm create -Q -C primary.ctx -i secret -L policy -u pub -r priv
    tpm load -Q -C primary.ctx -u pub -r priv -c seal.ctx

    tpm startauthsession -Q --policy-session -S session.ctx
    tpm policysigned -Q -S session.ctx -c key.ctx -x --raw-data to_sign
    openssl dgst -sha256 -sign key.pem -out signature to_sign
    tpm policysigned -Q -S session.ctx -x -g sha256 -f $format -s signature -c key.ctx
    tpm unseal -c seal.ctx -p session:session.ctx -o out
    same secret out

    step "$kind: the nonce has moved, so that the signature cannot be used again"
    tpm policyrestart -Q -S session.ctx
    refused 0x5DB tpm policysigned -Q -S session.ctx -x -g sha256 -f $format -s signature -c key.ctx
    tpm flushcontext session.ctx

    step "$kind: a signature by another key"
    tpm startauthsession -Q --policy-session -S session.ctx
    tpm policysigned -Q -S session.ctx -c key.ctx -x --raw-data to_sign
    if [ $kind = rsa ]; then openssl genrsa -out other.pem 2048 2>/dev/null
    else openssl ecparam -name prime256v1 -genkey -noout -out other.pem; fi
    openssl dgst -sha256 -sign other.pem -out signature to_sign
    refused 0x5DB tpm policysigned -Q -S session.ctx -x -g sha256 -f $format -s signature -c key.ctx
    refused $POLICY_FAIL tpm unseal -c seal.ctx -p session:session.ctx
    tpm flushcontext session.ctx
done
