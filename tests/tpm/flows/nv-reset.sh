# NV indices over a power cycle: contents stay, read and write locks of a period go, clear_stclear forgets.
# needs: reset
. "${0%/*}/lib.sh"

plain=0x1500021
forgetful=0x1500022
counter=0x1500023
printf 'contents' >data
tpm nvdefine -Q -C o -s 8 -a "ownerread|ownerwrite|read_stclear|write_stclear" $plain
tpm nvdefine -Q -C o -s 8 -a "ownerread|ownerwrite|clear_stclear|orderly" $forgetful
tpm nvdefine -Q -C o -a "ownerread|ownerwrite|nt=counter|orderly" $counter
tpm nvwrite -Q -C o -i data $plain
tpm nvwrite -Q -C o -i data $forgetful
tpm nvincrement -Q -C o $counter
tpm nvincrement -Q -C o $counter
before=$(($(tpm nvread -C o $counter | hex | sed s/^/0x/)))
tpm nvreadlock -Q -C o $plain
tpm nvwritelock -Q -C o $plain
refused 0x148 tpm nvread -Q -C o $plain
refused 0x148 tpm nvwrite -Q -C o -i data $plain

reset_tpm
tpm nvread -Q -C o -o out $plain
same data out
tpm nvwrite -Q -C o -i data $plain
refused 0x14A tpm nvread -Q -C o $forgetful
after=$(($(tpm nvread -C o $counter | hex | sed s/^/0x/)))
equal "counter after an orderly shutdown" "$before" "$after"

step "power lost without a shutdown: an orderly counter never goes back"
tpm nvincrement -Q -C o $counter
lost=$(($(tpm nvread -C o $counter | hex | sed s/^/0x/)))
power_cycle
tpm startup -c
tpm nvincrement -Q -C o $counter
after=$(($(tpm nvread -C o $counter | hex | sed s/^/0x/)))
[ "$after" -gt "$lost" ] || die "the counter went back: $lost, then $after"
tpm nvread -Q -C o -o out $plain
same data out
for index in $plain $forgetful $counter; do tpm nvundefine -Q -C o $index; done
