# Hashes of short and long inputs, and their tickets.
. "${0%/*}/lib.sh"

: >empty
printf 'abc' >short
head -c 1024 /dev/urandom >buffer
head -c 5000 /dev/urandom >long
for hash in sha1 sha256 sha384 sha512; do
    for file in empty short buffer long; do
        step "$hash, $file"
        tpm hash -Q -C o -g $hash -o digest -t ticket $file
        openssl dgst -$hash -binary -out expected $file
        same expected digest
    done
done
step "a hash that is none"
fails tpm hash -Q -C o -g cmac -o digest short

step "no ticket of use for what starts like an attestation"
printf '\377TCG and more' >generated
tpm hash -Q -C o -g sha256 -o digest -t ticket generated
equal "hash check, null hierarchy, empty" 8024400000070000 "$(hex ticket)"
