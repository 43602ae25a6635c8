# A bit field: bits are set and never cleared.
. "${0%/*}/lib.sh"

index=0x1500025
tpm nvdefine -Q -C o -a "ownerread|ownerwrite|nt=bits" $index
tpm nvsetbits -Q -C o -i 0x0000000000000005 $index
tpm nvsetbits -Q -C o -i 0x8000000000000002 $index
equal bits 8000000000000007 "$(tpm nvread -C o $index | hex)"
tpm nvsetbits -Q -C o -i 0 $index
equal bits 8000000000000007 "$(tpm nvread -C o $index | hex)"
refused 0x282 tpm nvincrement -Q -C o $index
tpm nvundefine -Q -C o $index
