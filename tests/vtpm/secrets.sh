# Moves what can be recognised through the TPM, and leaves the guest's endorsement keys in it. The lines `pattern` are
# read by xtask/src/test/secrets.rs too: each names a file of 32 bytes, that text backwards, so that they come into being in
# the guest and are not in the initial RAM disk, which the host knows.
set -eu
cd /tmp

pattern() { # FILE TEXT
    echo "$2" | rev | tr -d '\n' >"$1"
}
pattern sealed 1-egassem-delaes-fo-setyb-23-eht
pattern stored 2-egassem-derots-fo-setyb-23-eht
pattern digest 3-tsegid-tnecer-a-fo-setyb-23-et
pattern secret 4-drowssap-gnol-a-fo-setyb-23-et

export TPM2TOOLS_TCTI=device:/dev/tpmrm0
# What the known seeds' program on the host makes too.
tpm2_createek -Q -c 0x81010001 -G ecc -u ek-ecc.pub
tpm2_createek -Q -c 0x81010002 -G rsa -u ek-rsa.pub

for hierarchy in o n p; do
    tpm2_createprimary -Q -C $hierarchy -G ecc -c primary-$hierarchy
done
tpm2_create -Q -C primary-o -i sealed -p file:secret -u pub -r priv
tpm2_load -Q -C primary-o -u pub -r priv -c object
tpm2_unseal -Q -c object -p file:secret -o unsealed
cmp sealed unsealed
# An HMAC session salted to a key of the TPM's, with encryption in both directions.
tpm2_startauthsession -Q -S session --hmac-session -c primary-o
tpm2_sessionconfig -Q session --enable-encrypt --enable-decrypt
tpm2_unseal -Q -c object -p "session:session+$(cat secret)" -o unsealed-too
tpm2_flushcontext session
cmp sealed unsealed-too

tpm2_nvdefine -Q -C o -s 32 -a "ownerread|ownerwrite" 0x1500020
tpm2_nvwrite -Q -C o -i stored 0x1500020
tpm2_nvread -C o -s 32 0x1500020 >read
cmp stored read
tpm2_pcrextend "16:sha256=$(xxd -p -c 64 digest)"
tpm2_getrandom -Q 32 -o random
