# Seal and unseal without authorization; blobs that were tampered with, or belong to another parent, do not load.
. "${0%/*}/lib.sh"

echo "a secret" >secret
primary
tpm create -Q -C primary.ctx -i secret -u pub -r priv
tpm load -Q -C primary.ctx -u pub -r priv -c seal.ctx -n name
tpm unseal -c seal.ctx -o out
same secret out

step "the name is the digest of the public area"
equal name "000b$(digest sha256 "$(hex pub | cut -c5-)")" "$(hex name)"

step "one bit of the private part"
size=$(wc -c <priv)
last=$(hex priv | cut -c$((size * 2 - 1))-)
{ head -c $((size - 1)) priv; unhex "$(env printf %02x $((0x$last ^ 1)))"; } >bad
refused 0x1DF tpm load -Q -C primary.ctx -u pub -r bad -c bad.ctx

step "another parent"
tpm createprimary -Q -C n -G ecc -c other.ctx
refused 0x1DF tpm load -Q -C other.ctx -u pub -r priv -c bad.ctx

step "128 bytes and no more"
head -c 128 /dev/urandom >large
tpm create -Q -C primary.ctx -i large -u pub -r priv -c seal.ctx
tpm unseal -c seal.ctx -o out
same large out
echo >>large
fails tpm create -Q -C primary.ctx -i large -u pub -r priv
