# PIN indices: PIN Fail counts wrong uses of its password up to a limit, PIN Pass right ones.
. "${0%/*}/lib.sh"

fail=0x1500027
pass=0x1500028
echo "a secret" >secret
primary
counts() { tpm nvread -C o "$1" | hex; }

step "PIN Fail: three tries"
tpm nvdefine -Q -C o -p 1234 -a "ownerread|ownerwrite|policywrite|authread|no_da|nt=pinfail" $fail
unhex 0000000000000003 >limits
tpm nvwrite -Q -C o -i limits $fail
tpm startauthsession -Q -S trial.ctx
tpm policysecret -Q -S trial.ctx -c $fail -L policy 1234
tpm flushcontext trial.ctx
tpm create -Q -C primary.ctx -i secret -L policy -u pub -r priv
tpm load -Q -C primary.ctx -u pub -r priv -c seal.ctx
opens() { # COMMAND...
    tpm startauthsession -Q --policy-session -S session.ctx
    "$@"
    tpm unseal -c seal.ctx -p session:session.ctx -o out
    same secret out
    tpm flushcontext session.ctx
}
wrong() {
    tpm startauthsession -Q --policy-session -S session.ctx
    fails tpm policysecret -Q -S session.ctx -c "$1" "$2"
    tpm flushcontext session.ctx
}
opens tpm policysecret -Q -S session.ctx -c $fail 1234
equal counts 0000000000000003 "$(counts $fail)"
wrong $fail 0000
wrong $fail 1111
equal counts 0000000200000003 "$(counts $fail)"
step "a right one sets the count back"
opens tpm policysecret -Q -S session.ctx -c $fail 1234
equal counts 0000000000000003 "$(counts $fail)"
wrong $fail 0000
wrong $fail 0000
wrong $fail 0000
equal counts 0000000300000003 "$(counts $fail)"
step "locked, even for the right one"
wrong $fail 1234
step "the owner sets it back"
tpm nvwrite -Q -C o -i limits $fail
opens tpm policysecret -Q -S session.ctx -c $fail 1234

step "PIN Pass: two uses"
tpm nvdefine -Q -C o -p 5678 -a "ownerread|ownerwrite|policywrite|authread|nt=pinpass" $pass
unhex 0000000000000002 >limits
tpm nvwrite -Q -C o -i limits $pass
tpm startauthsession -Q --policy-session -S session.ctx
tpm policysecret -Q -S session.ctx -c $pass 5678
equal counts 0000000100000002 "$(counts $pass)"
tpm policysecret -Q -S session.ctx -c $pass 5678
equal counts 0000000200000002 "$(counts $pass)"
fails tpm policysecret -Q -S session.ctx -c $pass 5678
tpm flushcontext session.ctx
tpm nvundefine -Q -C o $fail
tpm nvundefine -Q -C o $pass
