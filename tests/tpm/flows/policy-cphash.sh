# PolicyCpHash: the session is good for one command with these parameters.
. "${0%/*}/lib.sh"

index=0x1500018
openssl ecparam -name prime256v1 -genkey -noout -out key.pem
openssl pkey -in key.pem -pubout -out key.pub.pem
tpm loadexternal -Q -C o -G ecc -u key.pub.pem -c key.ctx -n key.name
tpm startauthsession -Q -S trial.ctx
tpm policyauthorize -Q -S trial.ctx -L policy -n key.name
tpm flushcontext trial.ctx
tpm nvdefine -Q -C o -s 4 -L policy -a "ownerread|policywrite|ownerwrite" $index
printf 'good' >good
printf 'evil' >evil
tpm nvwrite -Q -C o -i evil $index

step "the parameters' digest"
tpm nvwrite -Q -i good --cphash cphash $index
tpm nvreadpublic $index >public
name=$(value public name)
# code || name of authHandle || name of nvIndex || data || offset
expected=$(digest sha256 "00000137$name$name""0004$(hex good)0000")
equal cpHash "$expected" "$(hex cphash | tail -c 64)"
unhex "0020$expected" >cphash.bin

tpm startauthsession -Q -S trial.ctx
tpm policycphash -Q -S trial.ctx -L approved --cphash cphash.bin
tpm flushcontext trial.ctx
equal policy "$(policy_step $ZERO_256 0000016e "$expected")" "$(hex approved)"
openssl dgst -sha256 -sign key.pem -out signature approved
tpm verifysignature -Q -c key.ctx -g sha256 -m approved -s signature -f ecdsa -t ticket

begin() {
    tpm startauthsession -Q --policy-session -S session.ctx
    tpm policycphash -Q -S session.ctx --cphash cphash.bin
    tpm policyauthorize -Q -S session.ctx -i approved -n key.name -t ticket
}
begin
refused $POLICY_FAIL tpm nvwrite -Q -P session:session.ctx -i evil $index
tpm flushcontext session.ctx
begin
tpm nvwrite -Q -P session:session.ctx -i good $index
tpm flushcontext session.ctx
tpm nvread -Q -C o -o out $index
same good out
tpm nvundefine -Q -C o $index
