# Creating objects: templates that must be refused, unique data, deep trees, creation in one command.
. "${0%/*}/lib.sh"

primary
step "attributes that contradict each other"
refused 0x2C2 tpm create -Q -C primary.ctx -G rsa -u pub -r priv -a "fixedtpm|sensitivedataorigin|sign"
refused 0x2C2 tpm create -Q -C primary.ctx -G rsa -u pub -r priv -a "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign|restricted|decrypt"
refused 0x2C2 tpm create -Q -C primary.ctx -G ecc -u pub -r priv -a "fixedtpm|fixedparent|userwithauth|sign"
step "a parent that is none"
tpm create -Q -C primary.ctx -G ecc:ecdsa -u pub -r priv
tpm load -Q -C primary.ctx -u pub -r priv -c leaf.ctx
fails tpm create -Q -C leaf.ctx -G ecc -u pub2 -r priv2

step "two keys differ; the same primary does not"
tpm create -Q -C primary.ctx -G ecc -u pub2 -r priv2
not_same pub pub2
tpm createprimary -Q -C o -G ecc -c again.ctx
tpm readpublic -Q -c primary.ctx -n name
tpm readpublic -Q -c again.ctx -n name2
same name name2
step "unique data make another primary"
# The tool wants each coordinate after its size, in the order of this machine.
{ unhex 2000; head -c 32 /dev/urandom; unhex 2000; head -c 32 /dev/urandom; } >unique
tpm createprimary -Q -C o -G ecc -u unique -c again.ctx
tpm readpublic -Q -c again.ctx -n name2
not_same name name2
step "another password does not"
tpm createprimary -Q -C o -G ecc -p word -c again.ctx
tpm readpublic -Q -c again.ctx -n name2
same name name2

step "five generations; a fixed storage key has the symmetric algorithm of its parent"
cp primary.ctx parent.ctx
for kind in rsa2048:null: ecc256:null: "" rsa3072:null: ecc384:null:; do
    storage="fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|decrypt"
    refused 0x2D6 tpm create -Q -C parent.ctx -G "${kind}aes256cfb" -u pub -r priv -a "$storage"
    tpm create -Q -C parent.ctx -G "${kind}aes128cfb" -u pub -r priv -a "$storage"
    tpm load -Q -C parent.ctx -u pub -r priv -c child.ctx
    mv child.ctx parent.ctx
done
echo "a secret" >secret
tpm create -Q -C parent.ctx -i secret -u pub -r priv
tpm load -Q -C parent.ctx -u pub -r priv -c seal.ctx
tpm unseal -c seal.ctx -o out
same secret out

step "in one command (CreateLoaded)"
tpm create -Q -C primary.ctx -G ecc:ecdsa -u pub -r priv -c key.ctx
tpm readpublic -Q -c key.ctx -f pem -o key.pem
tpm sign -Q -c key.ctx -g sha256 -f plain -o signature secret
openssl dgst -sha256 -verify key.pem -signature signature secret >&2
tpm load -Q -C primary.ctx -u pub -r priv -c key2.ctx
