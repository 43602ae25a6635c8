# Random bytes: as many as were asked for, never the same; stirring; in an encrypted session.
. "${0%/*}/lib.sh"

for size in 1 8 32 48; do
    tpm getrandom -Q -o a $size
    equal length $size "$(wc -c <a)"
done
tpm getrandom -Q -o a 32
tpm getrandom -Q -o b 32
not_same a b
echo "more entropy" | tpm stirrandom -Q
tpm getrandom -Q -o b 32
not_same a b

step "more than a digest: the tool asks again, or refuses, but never gets fewer"
if tpm getrandom -Q -f -o a 64 2>/dev/null; then equal length 64 "$(wc -c <a)"; fi

step "1200 bytes do not compress and have all values"
n=0
while [ $n -lt 38 ]; do
    tpm getrandom -Q 32 -o part
    cat part >>all
    n=$((n + 1))
done
gzip -c all >all.gz
[ "$(wc -c <all.gz)" -ge "$(wc -c <all)" ] || die "they compress"
