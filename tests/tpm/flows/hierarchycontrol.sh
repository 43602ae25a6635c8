# HierarchyControl: a disabled hierarchy makes nothing; a reset enables it again.
# needs: reset platform
. "${0%/*}/lib.sh"

tpm createprimary -Q -C o -G ecc -c primary.ctx
tpm hierarchycontrol -Q -C o shEnable clear
tpm getcap properties-variable >properties
has properties 'shEnable: *0'
refused 0x185 tpm createprimary -Q -C o -G ecc -c key.ctx
fails tpm readpublic -Q -c primary.ctx
tpm createprimary -Q -C e -G ecc -c key.ctx

step "only the platform enables"
fails tpm hierarchycontrol -Q -C o shEnable set
tpm hierarchycontrol -Q -C p shEnable set
tpm createprimary -Q -C o -G ecc -c key.ctx

step "endorsement, then the platform itself"
tpm hierarchycontrol -Q -C e ehEnable clear
refused 0x185 tpm createprimary -Q -C e -G ecc -c key.ctx
tpm hierarchycontrol -Q -C p phEnable clear
refused 0x185 tpm createprimary -Q -C p -G ecc -c key.ctx

reset_tpm
for hierarchy in o e p; do tpm createprimary -Q -C $hierarchy -G ecc -c key.ctx; done
