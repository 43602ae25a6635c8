# EC_Ephemeral and ZGen_2Phase; Commit and ECDAA's ephemeral point, if the TPM knows the scheme.
. "${0%/*}/lib.sh"

tpm createprimary -Q -C o -G ecc -c primary.ctx
tpm create -Q -C primary.ctx -G ecc256:ecdh -u pub -r priv -a "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|decrypt"
tpm load -Q -C primary.ctx -u pub -r priv -c key.ctx
step "two parties: the points of the other one are made here too"
tpm ecephemeral -Q -u ephemeral -t counter ecc256
tpm ecdhkeygen -Q -c key.ctx -u static -o z
tpm ecephemeral -Q -u other -t counter2 ecc256
tpm zgen2phase -Q -c key.ctx --static-public static --ephemeral-public other -t 0x"$(hex counter)" \
    --output-Z1 z1 --output-Z2 z2 2>log || { cat log >&2; die "ZGen_2Phase"; }
# The first secret is of the static keys: what ECDH_ZGen says.
tpm ecdhzgen -Q -c key.ctx -u static -o z
same z z1
not_same z1 z2
