# Endorsement keys are a function of the seed: the same each time, another one after ChangeEPS.
# needs: platform fresh
. "${0%/*}/lib.sh"

for kind in rsa ecc; do
    tpm createek -Q -G $kind -c ek.ctx -u $kind.1
    tpm createek -Q -G $kind -c ek.ctx -u $kind.2
    same $kind.1 $kind.2
done

step "a handle of their own"
tpm createek -Q -G rsa -c 0x81010001 -u rsa.2
same rsa.1 rsa.2
tpm readpublic -Q -c 0x81010001 -o rsa.3
same rsa.1 rsa.3

step "Clear keeps them"
tpm clear -Q
tpm createek -Q -G rsa -c ek.ctx -u rsa.2
same rsa.1 rsa.2

step "ChangeEPS does not"
tpm changeeps -Q
for kind in rsa ecc; do
    tpm createek -Q -G $kind -c ek.ctx -u $kind.2
    not_same $kind.1 $kind.2
done

step "no certificate was written here"
tpm nvreadpublic >indices
if ! grep -q 0x1C00002 indices; then
    fails tpm nvread -Q 0x1C00002
    fails tpm getekcertificate -o certificate
fi
