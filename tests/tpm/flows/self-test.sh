# Self tests, and what parameters the TPM would take.
. "${0%/*}/lib.sh"

tpm selftest
tpm selftest -f
tpm gettestresult >result
has result 'status: *success'
tpm incrementalselftest rsa ecc aes sha256 >result
has result 'complete'

for good in rsa2048 rsa3072 rsa2048:rsassa-sha256 ecc256 ecc384 ecc256:ecdsa-sha256 aes128cfb aes256ctr hmac xor; do
    step "$good"
    tpm testparms $good
done
for bad in rsa1024:foo ecc192:ecdsa-foo; do fails tpm testparms $bad; done
