# Capabilities: every group answers; what the profile promises is in them.
. "${0%/*}/lib.sh"

for group in $(tpm2_getcap -l | sed 's/^- //'); do
    step "$group"
    tpm getcap "$group" >"$group"
done
step "algorithms"
for name in rsa sha1 hmac aes mgf1 keyedhash xor sha256 sha384 sha512 rsassa rsaes rsapss oaep ecdsa ecdh ecschnorr kdf1_sp800_56a \
    kdf1_sp800_108 ecc symcipher ctr ofb cbc cfb ecb; do
    has algorithms "^$name:"
done
step "commands"
for name in NV_Write Create CreatePrimary PolicyPCR Quote Unseal StartAuthSession EncryptDecrypt2 PolicyAuthorizeNV CreateLoaded; do
    has commands "TPM2_CC_$name:"
done
step "curves"
has ecc-curves 'TPM2_ECC_NIST_P256: 0x3'
has ecc-curves 'TPM2_ECC_NIST_P384: 0x4'
step "properties"
has properties-fixed 'TPM2_PT_FAMILY_INDICATOR'
has properties-fixed 'value: "2.0"'
has properties-fixed 'TPM2_PT_PCR_COUNT'
has properties-variable 'phEnable: *1'
digest=$(grep -A1 'TPM2_PT_MAX_DIGEST' properties-fixed | sed -n 's/.*raw: *//p')
equal "largest digest" 64 $((digest))
step "PCRs"
has pcrs 'sha256: \[ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23 \]'
has pcrs 'sha384: \[ 0, 1,'
step "handles"
has handles-permanent 0x40000001
has handles-permanent 0x4000000B
has handles-pcr 0x17
step "ECC parameters"
tpm geteccparameters -o p256 ecc256
# p is the third field of size: keySize ...
case $(hex p256) in *ffffffff00000001000000000000000000000000ffffffffffffffffffffffff*) ;; *) die "not the prime of P-256" ;; esac
tpm geteccparameters -o p384 ecc384
not_same p256 p384
