# PolicyTemplate: a parent that makes children of one template only (TPM2_CreateLoaded).
. "${0%/*}/lib.sh"

tpm createprimary -Q -C o -G ecc --template-data template.bin -c unused.ctx
digest sha256 "$(hex template.bin)" >template.hash.hex
unhex "$(cat template.hash.hex)" >template.hash
tpm startauthsession -Q -S trial.ctx -g sha256
tpm policytemplate -Q -S trial.ctx -L policy --template-hash template.hash
tpm flushcontext trial.ctx
equal policy "$(policy_step $ZERO_256 00000190 "$(cat template.hash.hex)")" "$(hex policy)"

step "the owner hierarchy takes this policy"
tpm setprimarypolicy -Q -C o -L policy -g sha256
tpm startauthsession -Q --policy-session -S session.ctx -g sha256
tpm policytemplate -Q -S session.ctx --template-hash template.hash
tpm createprimary -Q -C o -G ecc -P session:session.ctx -c key.ctx
tpm flushcontext session.ctx

step "another template"
tpm startauthsession -Q --policy-session -S session.ctx -g sha256
tpm policytemplate -Q -S session.ctx --template-hash template.hash
refused $POLICY_FAIL tpm createprimary -Q -C o -G rsa -P session:session.ctx -c key.ctx
tpm flushcontext session.ctx

step "template and parameters' digest exclude each other"
{ unhex 0020; cat template.hash; } >cphash.bin
tpm startauthsession -Q --policy-session -S session.ctx -g sha256
tpm policytemplate -Q -S session.ctx --template-hash template.hash
refused 0x151 tpm policycphash -Q -S session.ctx --cphash cphash.bin
tpm flushcontext session.ctx
tpm setprimarypolicy -Q -C o
