# Keys made by openssl, loaded into the TPM as they are.
. "${0%/*}/lib.sh"

echo "a message" >message
step "RSA, both halves"
openssl genrsa -out rsa.pem 2048 2>/dev/null
openssl pkey -in rsa.pem -pubout -out rsa.pub.pem
tpm loadexternal -Q -C n -G rsa -r rsa.pem -c rsa.ctx
tpm sign -Q -c rsa.ctx -g sha256 -s rsassa -f plain -o signature message
openssl dgst -sha256 -verify rsa.pub.pem -signature signature message >&2
openssl dgst -sha256 -sign rsa.pem -out signature message
tpm loadexternal -Q -C o -G rsa -u rsa.pub.pem -c rsa.pub.ctx
tpm verifysignature -Q -c rsa.pub.ctx -g sha256 -f rsassa -m message -s signature
echo x >>signature
fails tpm verifysignature -Q -c rsa.pub.ctx -g sha256 -f rsassa -m message -s signature

step "the public half signs nothing"
fails tpm sign -Q -c rsa.pub.ctx -g sha256 -s rsassa -o s message

for curve in prime256v1 secp384r1; do
    step "ECC, $curve"
    openssl ecparam -name $curve -genkey -noout -out ecc.pem
    openssl pkey -in ecc.pem -pubout -out ecc.pub.pem
    tpm loadexternal -Q -C n -G ecc -r ecc.pem -c ecc.ctx
    tpm sign -Q -c ecc.ctx -g sha256 -s ecdsa -f plain -o signature message
    openssl dgst -sha256 -verify ecc.pub.pem -signature signature message >&2
    openssl dgst -sha256 -sign ecc.pem -out signature message
    tpm loadexternal -Q -C o -G ecc -u ecc.pub.pem -c ecc.pub.ctx
    tpm verifysignature -Q -c ecc.pub.ctx -g sha256 -f ecdsa -m message -s signature
    echo "another message" >other
    refused 0x2DB tpm verifysignature -Q -c ecc.pub.ctx -g sha256 -f ecdsa -m other -s signature
done

step "with both halves only in the null hierarchy"
fails tpm loadexternal -Q -C o -G ecc -r ecc.pem -c bad.ctx

step "AES"
head -c 16 /dev/urandom >aes.key
tpm loadexternal -Q -C n -G aes -r aes.key -c aes.ctx
head -c 64 /dev/urandom >plain
unhex 000102030405060708090a0b0c0d0e0f >iv
tpm encryptdecrypt -Q -c aes.ctx -G cfb -t iv -o cipher plain
openssl enc -aes-128-cfb -K "$(hex aes.key)" -iv "$(hex iv)" -in plain -out expected
same expected cipher
