# CertifyCreation: a key vouches for how another object was made; the ticket proves that this TPM made it.
. "${0%/*}/lib.sh"

primary
attestation_key rsa2048:rsassa-sha256:null
printf 'outside' >outside
tpm create -Q -C primary.ctx -G ecc -q 0102ff -l sha256:0,1 -u pub -r priv \
    --creation-data data --creation-hash hash --creation-ticket ticket
tpm load -Q -C primary.ctx -u pub -r priv -c key.ctx -n key.name
equal "creation hash" "$(digest sha256 "$(hex data | cut -c5-)")" "$(tail -c 32 hash | hex)"

tpm certifycreation -Q -C ak.ctx -c key.ctx -d hash -t ticket -g sha256 -f plain -o signature --attestation attest
openssl dgst -sha256 -verify ak.pem -signature signature attest >&2
equal "magic, type" ff544347801a "$(hex attest | cut -c1-12)"
equal "name, creation hash" "0022$(hex key.name)0020$(tail -c 32 hash | hex)" "$(tail -c 70 attest | hex)"

step "the ticket of another object"
tpm create -Q -C primary.ctx -G ecc -u pub2 -r priv2 --creation-ticket ticket2
refused 0x4E0 tpm certifycreation -Q -C ak.ctx -c key.ctx -d hash -t ticket2 -g sha256 -f plain -o s --attestation a

step "a primary's creation ticket"
tpm createprimary -Q -C o -G ecc -c p.ctx --creation-data data --creation-hash hash --creation-ticket ticket
tpm certifycreation -Q -C ak.ctx -c p.ctx -d hash -t ticket -g sha256 -f plain -o signature --attestation attest
openssl dgst -sha256 -verify ak.pem -signature signature attest >&2
