# Bytes that are no commands: each is answered with the right code, and the TPM goes on.
# needs: raw
. "${0%/*}/lib.sh"

send() { # HEX -> response, hexadecimal
    unhex "$1" >command
    tpm2_send <command 2>send.err | hex
}
code() { # WHAT WANTED COMMAND
    echo "+ $1" >&2
    equal "$1" "80010000000a$2" "$(send "$3")"
}
code "unknown command" 00000143 80010000000a0000ffff
# TPM_RC_BAD_TAG is what Part 3 says; its header is that of TPM 1.2. libtpms answers TPM_RC_VALUE.
case $(send 80030000000a0000017b) in
00c40000000a0000001e | 80010000000a00000084) ;;
*) die "wrong tag: $(send 80030000000a0000017b)" ;;
esac
code "size without the parameter" 000001da 80010000000a0000017b
code "sessions where there may be none" 00000145 80020000001b000001650000000940000009000000000080000000
code "Startup twice" 00000100 80010000000c000001440000
code "nothing loaded there" 00000910 80010000000e0000017380000002
code "nothing persistent there" 0000018b 80010000000e0000017381012345
code "no handle at all" 00000184 80010000000e000001737f000000
code "reserved capability" 000001c4 8001000000160000017a0000ff000000000000000001
equal "still there" 80010000 "$(send 80010000000c0000017b0008 | cut -c1-8)"
