# PolicyCounterTimer: compares the TPM's clock and counters.
. "${0%/*}/lib.sh"

echo "a secret" >secret
primary
tpm startauthsession -Q -S trial.ctx
tpm policycountertimer -Q -S trial.ctx -L policy --ult clock=3600000000
tpm flushcontext trial.ctx
# args = H(operandB || offset || operation); the clock is at offset 8 of TPMS_TIME_INFO
args=$(digest sha256 00000000d693a40000080005)
equal policy "$(policy_step $ZERO_256 0000016d "$args")" "$(hex policy)"

tpm create -Q -C primary.ctx -i secret -L policy -u pub -r priv
tpm load -Q -C primary.ctx -u pub -r priv -c seal.ctx
tpm startauthsession -Q --policy-session -S session.ctx
tpm policycountertimer -Q -S session.ctx --ult clock=3600000000
tpm unseal -c seal.ctx -p session:session.ctx -o out
same secret out
tpm flushcontext session.ctx

step "the time is over"
tpm startauthsession -Q --policy-session -S session.ctx
refused 0x126 tpm policycountertimer -Q -S session.ctx --ult clock=1
refused $POLICY_FAIL tpm unseal -c seal.ctx -p session:session.ctx

step "counters and the safe flag"
tpm readclock >clock
resets=$(value clock reset_count)
restarts=$(value clock restart_count)
tpm policycountertimer -Q -S session.ctx --eq resets="$resets"
tpm policycountertimer -Q -S session.ctx --eq restarts="$restarts"
refused 0x126 tpm policycountertimer -Q -S session.ctx --ugt resets="$resets"
refused 0x126 tpm policycountertimer -Q -S session.ctx --neq restarts="$restarts"
tpm policycountertimer -Q -S session.ctx --uge clock=1
tpm flushcontext session.ctx
