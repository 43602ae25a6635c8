# NV_Certify: a key vouches for the contents of an index.
. "${0%/*}/lib.sh"

primary
index=0x150001a
attestation_key ecc256:ecdsa-sha256:null
tpm nvdefine -Q -C o -s 16 -a "ownerread|ownerwrite|authread|authwrite" -p word $index
printf '0123456789abcdef' >data

step "not before it is written"
refused 0x14A tpm nvcertify -Q -C ak.ctx -c o -g sha256 -f plain -o signature --attestation attest --size 8 $index

tpm nvwrite -Q -C o -i data $index
tpm nvcertify -Q -C ak.ctx -c o -g sha256 -f plain -o signature --attestation attest --size 8 --offset 4 -q beef $index
openssl dgst -sha256 -verify ak.pem -signature signature attest >&2
tpm nvreadpublic $index >public
equal "index, offset, contents" "0022$(value public name)00040008$(printf 456789ab | hex)" "$(tail -c 48 attest | hex)"
equal "magic, type" ff5443478014 "$(hex attest | cut -c1-12)"

step "by the index's own authorization; past its end"
tpm nvcertify -Q -C ak.ctx -c $index -p word -g sha256 -f plain -o signature --attestation attest --size 16 $index
equal contents "$(hex data)" "$(tail -c 16 attest | hex)"
fails tpm nvcertify -Q -C ak.ctx -c o -g sha256 -f plain -o s --attestation a --size 8 --offset 9 $index
tpm nvundefine -Q -C o $index
