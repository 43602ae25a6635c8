# An index that is extended as a PCR is; several hash algorithms.
. "${0%/*}/lib.sh"

index=0x1500026
printf 'some data of any length' >data
for hash in sha256 sha384; do
    step $hash
    size=32
    [ $hash = sha256 ] || size=48
    tpm nvdefine -Q -C o -g $hash -a "ownerread|ownerwrite|nt=extend" $index
    tpm nvextend -Q -C o -i data $index
    expected=$(digest $hash "$(head -c $size /dev/zero | hex)$(hex data)")
    equal "first" "$expected" "$(tpm nvread -C o $index | hex)"
    tpm nvextend -Q -C o -i data $index
    expected=$(digest $hash "$expected$(hex data)")
    equal "second" "$expected" "$(tpm nvread -C o $index | hex)"
    tpm nvundefine -Q -C o $index
done
