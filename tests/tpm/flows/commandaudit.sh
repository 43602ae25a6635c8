# Command audit: the digest of all audited commands. The log starts empty after its digest was signed.
# needs: fresh
. "${0%/*}/lib.sh"

primary
attestation_key ecc256:ecdsa-sha256:null

audit() {
    tpm getcommandauditdigest -Q -P "${1-}" -c ak.ctx -g sha256 -f plain -s signature -m attest
    openssl dgst -sha256 -verify ak.pem -signature signature attest >&2
    equal "magic, type" ff5443478015 "$(hex attest | cut -c1-12)"
}
audit
# The digest's algorithm after this one is known; setting it to the same again is audited like anything else.
tpm setcommandauditstatus -Q TPM2_CC_Hash
audit
tpm setcommandauditstatus -Q TPM2_CC_GetRandom
tpm getrandom -Q 4 -o random
audit
# SetCommandCodeAuditStatus itself is always audited: code, name of the owner, algorithm, set list, clear list.
# The tool sends one for the algorithm and one for the list.
rphash=$(digest sha256 0000000000000140)
expected=$(digest sha256 "$ZERO_256$(digest sha256 0000014040000001000b0000000000000000)$rphash")
expected=$(digest sha256 "$expected$(digest sha256 0000014040000001000b000000010000017b00000000)$rphash")
cphash=$(digest sha256 0000017b0004)
rphash=$(digest sha256 "000000000000017b0004$(hex random)")
expected=$(digest sha256 "$expected$cphash$rphash")
# The structure ends with digestAlg, auditDigest, commandDigest; the latter is of the codes that are audited.
equal "audit digest" "000b0020$expected" "$(tail -c 70 attest | head -c 36 | hex)"
equal "command digest" "0020$(digest sha256 000001400000017b0000017d)" "$(tail -c 34 attest | hex)"

step "the log has started anew, and without digest it is empty"
audit
equal "audit digest" 000b0000 "$(tail -c 38 attest | head -c 4 | hex)"

step "no longer audited"
tpm setcommandauditstatus -Q -c TPM2_CC_GetRandom
audit
tpm getrandom -Q 4 -o random
audit
equal "audit digest" 000b0000 "$(tail -c 38 attest | head -c 4 | hex)"
