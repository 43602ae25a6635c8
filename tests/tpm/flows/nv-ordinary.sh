# An ordinary NV index: parts of it, its bounds, its attributes, its authorization.
. "${0%/*}/lib.sh"

index=0x1500020
many_tries
tpm nvdefine -Q -C o -s 32 -p word -a "authread|authwrite|ownerread|ownerwrite" $index
refused 0x14C tpm nvdefine -Q -C o -s 32 $index

step "not before it is written"
refused 0x14A tpm nvread -Q -C o $index
tpm nvreadpublic $index >public
has_not public '[|]written'
before=$(value public name)
printf 'first' >first
printf 'second' >second
tpm nvwrite -Q -P word -i first $index
tpm nvwrite -Q -C o --offset 26 -i second $index
tpm nvreadpublic $index >public
has public '[|]written'
differ name "$before" "$(value public name)"
tpm nvread -Q -P word -s 5 -o out $index
same first out
tpm nvread -Q -C o -s 6 --offset 26 -o out $index
same second out
tpm nvread -Q -C o -o out $index
equal length 32 "$(wc -c <out)"
# What was never written is all zeros or all ones (Part 1, on partial writes).
between=$(head -c 26 out | tail -c 21 | hex)
case $between in
000000000000000000000000000000000000000000 | ffffffffffffffffffffffffffffffffffffffffff) ;;
*) die "between the two: $between" ;;
esac

step "past the end"
fails tpm nvwrite -Q -C o --offset 27 -i second $index
step "a wrong password"
refused $AUTH_FAIL tpm nvread -Q -P wrong -s 5 $index
refused $AUTH_FAIL tpm nvwrite -Q -P wrong -i first $index

step "the attributes decide who"
tpm nvundefine -Q -C o $index
refused 0x18B tpm nvread -Q -C o $index
tpm nvdefine -Q -C o -s 8 -a "ownerwrite|authread" $index
tpm nvwrite -Q -C o -i first $index
refused 0x149 tpm nvread -Q -C o -s 5 $index
refused 0x12F tpm nvwrite -Q -C $index -i first $index
tpm nvread -Q -C $index -s 5 -o out $index
same first out
tpm nvundefine -Q -C o $index

step "an index that nobody could read"
refused 0x2C2 tpm nvdefine -Q -C o -s 8 -a "ownerwrite" $index

step "2048 bytes, by several commands"
head -c 2048 /dev/urandom >large
tpm nvdefine -Q -C o -s 2048 -a "ownerread|ownerwrite" $index
tpm nvwrite -Q -C o -i large $index
tpm nvread -Q -C o -o out $index
same large out
tpm nvundefine -Q -C o $index
