# NV under policies: written in one PCR state, read with a password, its password changed, deleted by policy only.
# needs: platform
. "${0%/*}/lib.sh"

index=0x150002b
many_tries
tpm pcrreset 16
tpm createpolicy -Q --policy-pcr -l sha256:16 -L policy
tpm nvdefine -Q -C o -s 8 -p word -L policy -a "authread|policywrite" $index
printf 'contents' >data
tpm nvwrite -Q -P pcr:sha256:16 -i data $index
tpm nvread -Q -P word -o out $index
same data out
refused 0x12F tpm nvwrite -Q -P word -i data $index
tpm pcrextend 16:sha256=$ZERO_256
refused $POLICY_FAIL tpm nvwrite -Q -P pcr:sha256:16 -i data $index
tpm nvundefine -Q -C o $index

step "its password is changed under the administrator's policy"
tpm startauthsession -Q -S trial.ctx
tpm policycommandcode -Q -S trial.ctx -L policy TPM2_CC_NV_ChangeAuth
tpm flushcontext trial.ctx
tpm nvdefine -Q -C o -s 8 -p word -L policy -a "authread|authwrite" $index
tpm startauthsession -Q --policy-session -S session.ctx
tpm policycommandcode -Q -S session.ctx TPM2_CC_NV_ChangeAuth
tpm changeauth -Q -c $index -p session:session.ctx+word new
tpm flushcontext session.ctx
refused $AUTH_FAIL tpm nvwrite -Q -P word -i data $index
tpm nvwrite -Q -P new -i data $index
tpm nvread -Q -P new -o out $index
same data out
tpm nvundefine -Q -C o $index

step "deleted by policy only (policydelete)"
tpm startauthsession -Q -S trial.ctx
tpm policycommandcode -Q -S trial.ctx -L policy TPM2_CC_NV_UndefineSpaceSpecial
tpm flushcontext trial.ctx
tpm nvdefine -Q -C p -s 8 -L policy -a "platformcreate|ppread|ppwrite|policydelete" $index
fails tpm nvundefine -Q -C p $index
tpm startauthsession -Q --policy-session -S session.ctx
tpm policycommandcode -Q -S session.ctx TPM2_CC_NV_UndefineSpaceSpecial
tpm nvundefine -Q -C p -S session.ctx $index
tpm flushcontext session.ctx
tpm getcap handles-nv-index >indices
has_not indices $index
