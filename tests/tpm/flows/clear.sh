# Clear: owner's keys, indices and persistent objects are gone; ClearControl forbids it.
# needs: platform fresh
. "${0%/*}/lib.sh"

echo "a secret" >secret
primary
tpm readpublic -Q -c primary.ctx -n before
tpm create -Q -C primary.ctx -i secret -u pub -r priv
tpm evictcontrol -Q -C o -c primary.ctx 0x81000001
tpm nvdefine -Q -C o -s 8 -a "ownerread|ownerwrite" 0x1500030
tpm nvdefine -Q -C p -s 8 -a "platformcreate|ppread|ppwrite|ownerread" 0x1400030
tpm createprimary -Q -C p -G ecc -c platform.ctx
tpm evictcontrol -Q -C p -c platform.ctx 0x81800000

tpm clear -Q
step "gone: owner's; kept: the platform's"
tpm getcap handles-persistent >handles
has_not handles 0x81000001
has handles 0x81800000
tpm getcap handles-nv-index >handles
has_not handles 0x1500030
has handles 0x1400030
fails tpm readpublic -Q -c primary.ctx

step "the same template makes another key; the old blobs do not load"
primary
tpm readpublic -Q -c primary.ctx -n after
not_same before after
refused 0x1DF tpm load -Q -C primary.ctx -u pub -r priv -c seal.ctx

step "ClearControl: the lockout authority can forbid, the platform allows"
tpm clearcontrol -Q -C l s
tpm getcap properties-variable >properties
has properties 'disableClear: *1'
refused 0x120 tpm clear -Q
refused 0x120 tpm clear -Q -c p
fails tpm clearcontrol -Q -C l c
tpm clearcontrol -Q -C p c
tpm clear -Q -c p
tpm evictcontrol -Q -C p -c 0x81800000
tpm nvundefine -Q -C p 0x1400030
