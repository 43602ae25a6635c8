# Certify: a key vouches that an object is in the same TPM.
. "${0%/*}/lib.sh"

primary
attestation_key ecc256:ecdsa-sha256:null
tpm create -Q -C primary.ctx -G rsa -p word -u pub -r priv
tpm load -Q -C primary.ctx -u pub -r priv -c key.ctx -n key.name
tpm readpublic -Q -c key.ctx -q key.qualified

many_tries
tpm certify -Q -c key.ctx -P word -C ak.ctx -g sha256 -o attest -s signature -f plain
openssl dgst -sha256 -verify ak.pem -signature signature attest >&2
equal "magic, type, qualified signer" "ff54434780170022$(hex ak.qualified)" "$(hex attest | cut -c1-84)"
equal "name, qualified name" "0022$(hex key.name)0022$(hex key.qualified)" "$(tail -c 72 attest | hex)"

step "the object's password is needed too"
refused $AUTH_FAIL tpm certify -Q -c key.ctx -P wrong -C ak.ctx -g sha256 -o attest -s signature

step "the qualified name is made of the parent's"
tpm readpublic -Q -c primary.ctx -q primary.qualified -n primary.name
equal "qualified name of the parent" "000b$(digest sha256 "40000001$(hex primary.name)")" "$(hex primary.qualified)"
equal "qualified name" "000b$(digest sha256 "$(hex primary.qualified)$(hex key.name)")" "$(hex key.qualified)"
