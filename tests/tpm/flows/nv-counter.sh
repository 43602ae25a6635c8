# A counter: starts at the highest value any counter had, only goes up, cannot be written.
. "${0%/*}/lib.sh"

index=0x1500024
read_counter() { echo $((0x$(tpm nvread -C o $index | hex))); }
tpm nvdefine -Q -C o -a "ownerread|ownerwrite|nt=counter" $index
refused 0x14A tpm nvread -Q -C o $index
tpm nvincrement -Q -C o $index
first=$(read_counter)
tpm nvincrement -Q -C o $index
tpm nvincrement -Q -C o $index
equal counter $((first + 2)) "$(read_counter)"
unhex 00000000000000ff >value
refused 0x82 tpm nvwrite -Q -C o -i value $index

step "deleted and defined anew, it does not go back"
tpm nvundefine -Q -C o $index
tpm nvdefine -Q -C o -a "ownerread|ownerwrite|nt=counter" $index
tpm nvincrement -Q -C o $index
[ "$(read_counter)" -gt $((first + 2)) ] || die "went back to $(read_counter)"

step "an ordinary index does not count"
tpm nvundefine -Q -C o $index
tpm nvdefine -Q -C o -s 8 -a "ownerread|ownerwrite" $index
refused 0x282 tpm nvincrement -Q -C o $index
tpm nvundefine -Q -C o $index
