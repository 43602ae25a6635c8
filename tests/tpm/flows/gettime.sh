# GetTime: a signed statement of time and clock.
. "${0%/*}/lib.sh"

primary
attestation_key rsa2048:rsapss-sha256:null
tpm readclock >before
tpm gettime -Q -s rsapss -c ak.ctx -q 0badc0de -g sha256 -f plain -o signature --attestation attest
tpm readclock >after
openssl dgst -sha256 -verify ak.pem -sigopt rsa_padding_mode:pss -signature signature attest >&2
equal "magic, type" ff5443478019 "$(hex attest | cut -c1-12)"
case $(hex attest) in *00040badc0de*) ;; *) die "the qualification is not attested" ;; esac
# ... TPMS_TIME_ATTEST_INFO: time, clock, resetCount, restartCount, safe, firmwareVersion; owner keys see the counters plainly.
attested=$((0x$(tail -c 25 attest | head -c 8 | hex)))
[ "$attested" -ge "$(value before clock)" ] && [ "$attested" -le "$(value after clock)" ] ||
    die "clock $attested is not between $(value before clock) and $(value after clock)"
equal resets "$(value before reset_count)" "$((0x$(tail -c 17 attest | head -c 4 | hex)))"

step "the endorsement hierarchy's authorization is needed"
tpm changeauth -Q -c e secret
fails tpm gettime -Q -s rsapss -c ak.ctx -g sha256 -f plain -o signature --attestation attest
tpm gettime -Q -s rsapss -P secret -c ak.ctx -g sha256 -f plain -o signature --attestation attest
tpm changeauth -Q -c e -p secret
