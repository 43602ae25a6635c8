# Clock: goes on by itself, is set forward and never back; its rate.
. "${0%/*}/lib.sh"

tpm readclock >clock
before=$(value clock clock)
sleep 1
tpm readclock >clock
after=$(value clock clock)
time=$(value clock time)
[ $((after - before)) -ge 900 ] && [ $((after - before)) -le 30000 ] || die "a second is $((after - before)) ms"

tpm setclock -Q $((after + 100000))
tpm readclock >clock
now=$(value clock clock)
[ "$now" -ge $((after + 100000)) ] && [ "$now" -le $((after + 130000)) ] || die "set to $((after + 100000)), is $now"
refused 0x1C4 tpm setclock -Q "$before"

step "time is not set with it"
# Time counts from the TPM's start, the clock from when it was cleared: neither says how large the other is.
passed=$(($(value clock time) - time))
[ "$passed" -ge 0 ] && [ "$passed" -lt 90000 ] || die "time went on by $passed ms when the clock was set 100000 ms ahead"

step "the rate"
tpm clockrateadjust -Q ss
tpm clockrateadjust -Q s
tpm clockrateadjust -Q f
tpm clockrateadjust -Q ff
step "the owner's authorization"
tpm changeauth -Q -c o owner
refused $BAD_AUTH tpm setclock -Q $((after + 200000))
tpm setclock -Q -p owner $((after + 200000))
tpm changeauth -Q -c o -p owner
