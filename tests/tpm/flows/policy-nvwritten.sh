# PolicyNvWritten: an index that anybody may write once.
. "${0%/*}/lib.sh"

index=0x1500017
tpm startauthsession -Q -S trial.ctx
tpm policynvwritten -Q -S trial.ctx -L policy c
tpm flushcontext trial.ctx
equal policy "$(policy_step $ZERO_256 0000018f 00)" "$(hex policy)"

tpm nvdefine -Q -C o -s 8 -L policy -a "ownerread|policywrite" $index
printf 'once    ' >data
tpm startauthsession -Q --policy-session -S session.ctx
tpm policynvwritten -Q -S session.ctx c
tpm nvwrite -Q -i data -P session:session.ctx $index
tpm flushcontext session.ctx
tpm nvread -Q -C o -s 8 -o out $index
same data out

step "twice"
tpm startauthsession -Q --policy-session -S session.ctx
tpm policynvwritten -Q -S session.ctx c
refused $POLICY_FAIL tpm nvwrite -Q -i data -P session:session.ctx $index
refused 0x1C4 tpm policynvwritten -Q -S session.ctx s
tpm flushcontext session.ctx

step "the name tells whether it was written"
tpm nvreadpublic $index >public
has public 'friendly:.*[|]written'
tpm nvundefine -Q -C o $index
