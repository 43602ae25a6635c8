# Persistent objects: made, used, listed, gone; over a reset.
# needs: reset
. "${0%/*}/lib.sh"

handle=0x81010020
echo "a message" >message
tpm createprimary -Q -C o -G ecc -c primary.ctx
tpm create -Q -C primary.ctx -G ecc:ecdsa -p word -u pub -r priv
tpm load -Q -C primary.ctx -u pub -r priv -c key.ctx -n name
tpm readpublic -Q -c key.ctx -f pem -o key.pem
many_tries

tpm evictcontrol -Q -C o -c key.ctx $handle
tpm getcap handles-persistent >handles
has handles "$handle"
tpm readpublic -Q -c $handle -n name2
same name name2
refused 0x14C tpm evictcontrol -Q -C o -c key.ctx $handle

step "after a reset the context is gone and the persistent object is not"
reset_tpm
fails tpm readpublic -Q -c key.ctx
tpm sign -Q -c $handle -p word -g sha256 -f plain -o signature message
openssl dgst -sha256 -verify key.pem -signature signature message >&2
refused $AUTH_FAIL tpm sign -Q -c $handle -p wrong -g sha256 -o s message

step "evicted"
tpm evictcontrol -Q -C o -c $handle
tpm getcap handles-persistent >handles
has_not handles "$handle"
refused 0x18B tpm readpublic -Q -c $handle

step "not of the null hierarchy, not in the platform's range"
tpm createprimary -Q -C n -G ecc -c null.ctx
refused 0x282 tpm evictcontrol -Q -C o -c null.ctx $handle
tpm createprimary -Q -C o -G ecc -c primary.ctx
refused 0x1CD tpm evictcontrol -Q -C o -c primary.ctx 0x81800000

step "a persistent parent"
tpm evictcontrol -Q -C o -c primary.ctx $handle
tpm load -Q -C $handle -u pub -r priv -c key.ctx
tpm sign -Q -c key.ctx -p word -g sha256 -f plain -o signature message
openssl dgst -sha256 -verify key.pem -signature signature message >&2
tpm evictcontrol -Q -C o -c $handle
