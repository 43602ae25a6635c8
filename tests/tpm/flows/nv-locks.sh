# Locks of NV indices: reading, writing, for ever, and all at once.
# needs: reset
. "${0%/*}/lib.sh"

index=0x1500029
printf 'contents' >data
step "for ever: writedefine"
tpm nvdefine -Q -C o -s 8 -a "ownerread|ownerwrite|writedefine" $index
tpm nvwrite -Q -C o -i data $index
tpm nvwritelock -Q -C o $index
refused 0x148 tpm nvwrite -Q -C o -i data $index
tpm nvread -Q -C o -o out $index
same data out
tpm nvreadpublic $index >public
has public '[|]writelocked'
reset_tpm
refused 0x148 tpm nvwrite -Q -C o -i data $index
tpm nvundefine -Q -C o $index

step "an index without such an attribute does not lock"
tpm nvdefine -Q -C o -s 8 -a "ownerread|ownerwrite" $index
tpm nvwrite -Q -C o -i data $index
refused 0x282 tpm nvwritelock -Q -C o $index
refused 0x282 tpm nvreadlock -Q -C o $index
tpm nvundefine -Q -C o $index

step "the global lock takes those that want it"
other=0x150002a
tpm nvdefine -Q -C o -s 8 -a "ownerread|ownerwrite|globallock" $index
tpm nvdefine -Q -C o -s 8 -a "ownerread|ownerwrite" $other
tpm nvwrite -Q -C o -i data $index
tpm nvwritelock -Q -C o --global
refused 0x148 tpm nvwrite -Q -C o -i data $index
tpm nvwrite -Q -C o -i data $other
reset_tpm
tpm nvwrite -Q -C o -i data $index
tpm nvundefine -Q -C o $index
tpm nvundefine -Q -C o $other
