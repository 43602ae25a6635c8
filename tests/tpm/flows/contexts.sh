# Contexts of objects and sessions: saved and loaded by different processes, refused after a bit was flipped.
# needs: raw
. "${0%/*}/lib.sh"

echo "a secret" >secret
primary
tpm create -Q -C primary.ctx -i secret -u pub -r priv
tpm load -Q -C primary.ctx -u pub -r priv -c seal.ctx

step "an object's context loads any number of times"
for _ in 1 2 3; do
    tpm unseal -c seal.ctx -o out
    same secret out
done

step "three objects fill the TPM"
for n in 1 2 3; do tpm2_load -Q -C primary.ctx -u pub -r priv -c $n.ctx 2>/dev/null || break; done
tpm getcap handles-transient >handles
fails tpm2_createprimary -Q -C o -G ecc -c more.ctx
tpm flushcontext -t
tpm getcap handles-transient >handles
has_not handles 0x80

step "a flipped bit"
byte=$(hex seal.ctx | cut -c201-202)
{ head -c 100 seal.ctx; unhex "$(env printf %02x $((0x$byte ^ 4)))"; tail -c +102 seal.ctx; } >bad.ctx
fails tpm unseal -c bad.ctx

step "a session's context loads once"
tpm startauthsession -Q --policy-session -S session.ctx
cp session.ctx copy.ctx
tpm policypassword -Q -S session.ctx
fails tpm policypassword -Q -S copy.ctx
tpm getcap handles-saved-session >handles
has handles 0x[23]000000
tpm flushcontext session.ctx
tpm getcap handles-saved-session >handles
has_not handles 0x[23]0

step "more sessions than the TPM has slots"
n=0
while [ $n -lt 20 ]; do
    tpm startauthsession -Q --policy-session -S session$n.ctx
    n=$((n + 1))
done
equal "saved sessions" 20 "$(tpm getcap handles-saved-session | grep -c "0x[23]0")"
n=0
while [ $n -lt 20 ]; do
    tpm flushcontext session$n.ctx
    n=$((n + 1))
done
