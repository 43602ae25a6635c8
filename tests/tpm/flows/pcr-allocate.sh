# PCR_Allocate: takes effect with the next reset.
# needs: reset platform fresh
. "${0%/*}/lib.sh"

tpm pcrallocate -Q sha1:all+sha256:all+sha384:none
tpm getcap pcrs >pcrs
has pcrs 'sha384: \[ 0, 1'
reset_tpm
tpm getcap pcrs >pcrs
has pcrs 'sha1: \[ 0, 1'
has pcrs 'sha384: \[ *\]'
printf 'data' >data
tpm pcrevent -Q 16 data
equal "PCR 16, SHA-1" "$(digest sha1 "0000000000000000000000000000000000000000$(digest sha1 "$(hex data)")")" "$(pcr sha1 16)"
equal "PCR 16, SHA-256" "$(digest sha256 "$ZERO_256$(digest sha256 "$(hex data)")")" "$(pcr sha256 16)"

step "kept over another reset"
reset_tpm
tpm getcap pcrs >pcrs
has pcrs 'sha1: \[ 0, 1'
equal "PCR 16" $ZERO_256 "$(pcr sha256 16)"

step "back"
tpm pcrallocate -Q sha1:none+sha256:all+sha384:all
reset_tpm
tpm getcap pcrs >pcrs
has pcrs 'sha1: \[ *\]'
has pcrs 'sha384: \[ 0, 1'

step "not without the platform's authorization"
tpm changeauth -Q -c p platform
fails tpm pcrallocate -Q sha1:all+sha256:all
tpm changeauth -Q -c p -p platform
