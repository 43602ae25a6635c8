# Reset, Restart, Resume: counters, PCRs, saved contexts and sessions after each.
# needs: reset
. "${0%/*}/lib.sh"

one=$(digest sha256 "$ZERO_256$ZERO_256")
counters() {
    tpm readclock >clock
    echo "$(value clock reset_count) $(value clock restart_count)"
}
set -- $(counters)
resets=$1
primary
tpm createprimary -Q -C n -G ecc -c null.ctx
tpm readpublic -Q -c null.ctx -n null.1
tpm pcrextend 16:sha256=$ZERO_256 1:sha256=$ZERO_256
tpm startauthsession -Q --policy-session -S session.ctx

step "Resume: Shutdown(STATE), Startup(STATE)"
tpm shutdown
power_cycle
tpm startup
equal counters "$resets 1" "$(counters)"
equal "PCR 1" "$one" "$(pcr sha256 1)"
equal "PCR 16" $ZERO_256 "$(pcr sha256 16)"
tpm readpublic -Q -c primary.ctx -n name
tpm policypassword -Q -S session.ctx
tpm createprimary -Q -C n -G ecc -c null.ctx
tpm readpublic -Q -c null.ctx -n null.2
same null.1 null.2

step "Restart: Shutdown(STATE), Startup(CLEAR)"
tpm shutdown
power_cycle
tpm startup -c
equal counters "$resets 2" "$(counters)"
equal "PCR 1" $ZERO_256 "$(pcr sha256 1)"
tpm readpublic -Q -c primary.ctx -n name
tpm policypassword -Q -S session.ctx
tpm createprimary -Q -C n -G ecc -c null.ctx
tpm readpublic -Q -c null.ctx -n null.2
same null.1 null.2

step "Reset: Shutdown(CLEAR), Startup(CLEAR)"
reset_tpm
equal counters "$((resets + 1)) 0" "$(counters)"
fails tpm readpublic -Q -c primary.ctx
fails tpm policypassword -Q -S session.ctx
tpm createprimary -Q -C n -G ecc -c null.ctx
tpm readpublic -Q -c null.ctx -n null.2
not_same null.1 null.2
primary
tpm readpublic -Q -c primary.ctx -n name2
same name name2

step "Startup(STATE) without saved state"
tpm shutdown -c
power_cycle
refused 0x1C4 tpm startup
tpm startup -c

step "a command before Startup"
power_cycle
refused 0x100 tpm getrandom -Q 8
tpm startup -c
tpm getrandom -Q 8 -o random
