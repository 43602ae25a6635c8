# PolicyNV: an operand compared with an NV index decides; every operator.
. "${0%/*}/lib.sh"

echo "a secret" >secret
primary
index=0x1500016
tpm nvdefine -Q -C o -s 2 -a "ownerread|ownerwrite|policywrite|authread|authwrite" $index
unhex 0102 >two
tpm nvwrite -Q -C o -i two $index

compare() { unhex "$3" | tpm policynv -Q -S "$1" -C o -i - $index "$2"; }

step "seal to index >= 0x0102 unsigned"
tpm startauthsession -Q -S trial.ctx
unhex 0102 | tpm policynv -Q -S trial.ctx -i - -C o -L policy $index uge
tpm flushcontext trial.ctx
tpm nvreadpublic $index >public
name=$(value public name)
# args = H(operandB || offset || operation)
args=$(digest sha256 010200000007)
equal policy "$(policy_step $ZERO_256 00000149 "$args$name")" "$(hex policy)"
tpm create -Q -C primary.ctx -i secret -L policy -u pub -r priv
tpm load -Q -C primary.ctx -u pub -r priv -c seal.ctx

tpm startauthsession -Q --policy-session -S session.ctx
compare session.ctx uge 0102
tpm unseal -c seal.ctx -p session:session.ctx -o out
same secret out
tpm flushcontext session.ctx

step "the operators"
tpm startauthsession -Q --policy-session -S session.ctx
for good in eq:0102 neq:0103 sgt:ff00 ugt:0101 slt:0103 ult:ff00 sge:0102 uge:0102 sle:0102 ule:0102 bs:0002 bc:0004; do
    compare session.ctx ${good%:*} ${good#*:}
done
for bad in eq:0103 neq:0102 sgt:0102 ugt:ff00 slt:ff00 ult:0102 sge:0103 uge:0103 sle:0101 ule:0101 bs:0003 bc:0002; do
    refused 0x126 compare session.ctx ${bad%:*} ${bad#*:}
done
step "two negative numbers: the larger rest is the lesser number"
unhex 8102 >negative
tpm nvwrite -Q -C o -i negative $index
compare session.ctx sgt 8103
compare session.ctx slt 8101
compare session.ctx slt 0001
refused 0x126 compare session.ctx sgt 8101
tpm flushcontext session.ctx

step "the index has less than the sealed bound"
unhex 0101 >one
tpm nvwrite -Q -C o -i one $index
tpm startauthsession -Q --policy-session -S session.ctx
refused 0x126 compare session.ctx uge 0102
refused $POLICY_FAIL tpm unseal -c seal.ctx -p session:session.ctx
tpm flushcontext session.ctx
tpm nvundefine -Q -C o $index
