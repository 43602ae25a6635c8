# A credential for an attestation key, that only the TPM with the endorsement key can open.
. "${0%/*}/lib.sh"

printf 'twenty bytes at most' >secret
for kind in rsa ecc; do
    step "EK: $kind"
    tpm createek -Q -G $kind -c ek.ctx -u ek.pub
    tpm readpublic -Q -c ek.ctx -f pem -o ek.pem
    for signer in rsa ecc; do
        case $signer in rsa) scheme=rsassa ;; ecc) scheme=ecdsa ;; esac
        tpm createak -Q -C ek.ctx -c ak.ctx -G $signer -g sha256 -s $scheme -u ak.pub -n ak.name
        step "made by the TPM"
        tpm makecredential -Q -u ek.pub -s secret -n "$(hex ak.name)" -o blob
        session() {
            tpm startauthsession -Q --policy-session -S session.ctx
            tpm policysecret -Q -S session.ctx -c e
        }
        session
        tpm activatecredential -Q -c ak.ctx -C ek.ctx -i blob -o out -P session:session.ctx
        tpm flushcontext session.ctx
        same secret out

        step "made by the tool alone"
        tpm makecredential -Q -T none -u ek.pem -s secret -n "$(hex ak.name)" -G $kind -o blob2 || {
            [ $kind = ecc ] && continue # 5.4 knows RSA only
            die "makecredential without a TPM"
        }
        session
        tpm activatecredential -Q -c ak.ctx -C ek.ctx -i blob2 -o out -P session:session.ctx
        tpm flushcontext session.ctx
        same secret out
    done

    step "for another key"
    tpm createak -Q -C ek.ctx -c other.ctx -G ecc -g sha256 -s ecdsa -u other.pub -n other.name
    session
    fails tpm activatecredential -Q -c other.ctx -C ek.ctx -i blob -o out -P session:session.ctx
    tpm flushcontext -l
    tpm flushcontext -s

    step "without the endorsement policy"
    tpm startauthsession -Q --policy-session -S session.ctx
    refused 0xA9D tpm activatecredential -Q -c ak.ctx -C ek.ctx -i blob -o out -P session:session.ctx ||
        die "the policy was not asked for"
    tpm flushcontext session.ctx
done
