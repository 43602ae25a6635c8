# ChangePPS and ChangeEPS: primaries of that hierarchy become others, the rest stays.
# needs: platform fresh
. "${0%/*}/lib.sh"

names() {
    for hierarchy in o e p; do
        tpm createprimary -Q -C $hierarchy -G ecc -c key.ctx
        tpm readpublic -Q -c key.ctx -n $hierarchy.$1
    done
}
names 1
names 2
for hierarchy in o e p; do same $hierarchy.1 $hierarchy.2; done
tpm changepps -Q
names 3
same o.1 o.3
same e.1 e.3
not_same p.1 p.3
tpm changeeps -Q
names 4
same o.1 o.4
not_same e.1 e.4
same p.3 p.4

step "the platform's authorization is needed"
tpm changeauth -Q -c p platform
refused $BAD_AUTH tpm changepps -Q
refused $BAD_AUTH tpm changeeps -Q
tpm changeauth -Q -c p -p platform

step "an object of the old seed does not load"
tpm createprimary -Q -C e -G ecc -c primary.ctx
tpm create -Q -C primary.ctx -G ecc -u pub -r priv
tpm load -Q -C primary.ctx -u pub -r priv -c key.ctx
tpm changeeps -Q
fails tpm readpublic -Q -c key.ctx
tpm createprimary -Q -C e -G ecc -c primary.ctx
refused 0x1DF tpm load -Q -C primary.ctx -u pub -r priv -c key.ctx
