# Extending, events, reset: both banks, values computed beside the TPM.
. "${0%/*}/lib.sh"

zero384=${ZERO_256}00000000000000000000000000000000
tpm pcrreset 16 23
equal "PCR 16" $ZERO_256 "$(pcr sha256 16)"
equal "PCR 16" $zero384 "$(pcr sha384 16)"
printf 'data' >data
d256=$(digest sha256 "$(hex data)")
d384=$(digest sha384 "$(hex data)")

step "extend"
tpm pcrextend "16:sha256=$d256"
equal "PCR 16" "$(digest sha256 "$ZERO_256$d256")" "$(pcr sha256 16)"
equal "PCR 16" $zero384 "$(pcr sha384 16)"
tpm pcrextend "16:sha256=$d256,sha384=$d384" "23:sha256=$d256"
first=$(digest sha256 "$ZERO_256$d256")
equal "PCR 16" "$(digest sha256 "$first$d256")" "$(pcr sha256 16)"
equal "PCR 16" "$(digest sha384 "$zero384$d384")" "$(pcr sha384 16)"
equal "PCR 23" "$first" "$(pcr sha256 23)"

step "event: the TPM hashes"
tpm pcrreset 16
tpm pcrevent 16 data >digests
has digests "sha256: $d256"
equal "PCR 16" "$(digest sha256 "$ZERO_256$d256")" "$(pcr sha256 16)"
equal "PCR 16" "$(digest sha384 "$zero384$d384")" "$(pcr sha384 16)"
step "an event of more than one buffer"
head -c 3000 /dev/urandom >large
tpm pcrreset 16
tpm pcrevent -Q 16 large
equal "PCR 16" "$(digest sha256 "$ZERO_256$(digest sha256 "$(hex large)")")" "$(pcr sha256 16)"

step "which ones reset, at locality 0"
refused 0x907 tpm pcrreset 0
refused 0x907 tpm pcrreset 15
refused 0x907 tpm pcrreset 17
refused 0x907 tpm pcrextend "17:sha256=$d256"
tpm pcrreset 23
equal "PCR 23" $ZERO_256 "$(pcr sha256 23)"

step "what the dynamic ones start with"
equal "PCR 17" ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff "$(pcr sha256 17)"
step "there is no PCR 24"
fails tpm pcrextend "24:sha256=$d256"
