# What the flows share. A flow sources it first:  . "${0%/*}/lib.sh"
#
# From outside: TPM2TOOLS_TCTI says where the TPM is. TPM_RESET is a command that cycles its power, TPM_SECOND the TCTI of
# another TPM; a flow that uses them says so in a line `# needs:`. TPM_CLEAR=1: the TPM is not fresh, so clear it first.
#
# Words after `# needs:`  reset    TPM_RESET
#                         second   TPM_SECOND
#                         fresh    a state that no other flow has used, or that none will use after it
#                         platform the platform hierarchy, with an empty authorization value
#                         raw      no resource manager between the tools and the TPM
# shellcheck shell=sh

set -eu
LC_ALL=C
export LC_ALL

work=$(mktemp -d)
cd "$work"
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# Response codes as the tools print them: the base code, with the number of the session, handle or parameter where it has one.
AUTH_FAIL=0x98E           # session 1
BAD_AUTH=0x9A2            # session 1; not subject to dictionary attack
POLICY_FAIL=0x99D         # session 1
POLICY_CC=0x9A4           # session 1
LOCKOUT=0x921

# A headline in the log.
step() { echo "== $*" >&2; }

die() { echo "FAILED: $*" >&2; exit 1; }

# Whether the wanted value came: equal WHAT WANTED FOUND
equal() {
    [ "$2" = "$3" ] || die "$1: wanted $2, found $3"
}

differ() {
    [ "$2" != "$3" ] || die "$1: both are $2"
}

# Two files with the same contents.
same() { cmp "$1" "$2" >&2 || die "$1 and $2 differ"; }

not_same() { if cmp -s "$1" "$2"; then die "$1 and $2 are the same"; fi; }

# A file has a line that matches.
has() { grep -Eq -e "$2" "$1" || { cat "$1" >&2; die "$1 has no line like '$2'"; }; }

has_not() { if grep -Eq -e "$2" "$1"; then cat "$1" >&2; die "$1 has a line like '$2'"; fi; }

# One tool: `tpm unseal -c x` is tpm2_unseal. Nothing stays loaded after it, as if a resource manager were there.
tpm() {
    _tool=$1
    shift
    echo "+ tpm2_$_tool $*" >&2
    _status=0
    "tpm2_$_tool" "$@" || _status=$?
    case $_tool in
    getcap|startup|shutdown|flushcontext|pcrread|getrandom) ;;
    *) tpm2_flushcontext -Q -t >/dev/null 2>&1 || : ;;
    esac
    # A tool that fails leaves its own sessions behind; those of a flow are saved, not loaded.
    [ $_status = 0 ] || tpm2_flushcontext -Q -l >/dev/null 2>&1 || :
    return $_status
}

# `refused CODE tpm ...`: the TPM must answer with this response code.
refused() {
    _wanted=$1
    shift
    if "$@" >refused.out 2>refused.err; then
        cat refused.err >&2
        die "not refused with $_wanted: $*"
    fi
    cat refused.err >&2
    grep -Eiq "\(0x0*${_wanted#0x}\)" refused.err || die "not refused with $_wanted"
}

# `fails ...`: the tool must not succeed; what it says is the tool's own, or one of several codes is right.
fails() {
    if "$@" >refused.out 2>refused.err; then
        cat refused.err >&2
        die "did not fail: $*"
    fi
    cat refused.err >&2
}

# Bytes of a file as lower-case hexadecimal digits; of standard input without one.
hex() { od -An -v -tx1 ${1+"$1"} | tr -d ' \n'; }

# Bytes of hexadecimal digits. Not the shell's own printf, which may lack \x.
unhex() { if [ -n "$1" ]; then env printf "$(echo "$1" | sed 's/../\\x&/g')"; fi; }

# Digest of hexadecimal digits: digest ALGORITHM HEX
digest() { unhex "$2" | openssl dgst "-$1" -binary | hex; }

# What a policy digest (SHA-256) becomes by one command: policy_step OLD CODE [ARGUMENTS], all hexadecimal.
policy_step() { digest sha256 "$1$2${3-}"; }
ZERO_256=0000000000000000000000000000000000000000000000000000000000000000

# Value of one line of a tool's output: value FILE KEY
value() { sed -n "s/^ *$2: *//p" "$1" | head -1; }

# A number of the TPM's variable properties, decimal.
property() {
    tpm getcap properties-variable >properties
    echo $(($(value properties "$1")))
}

# The value of one PCR: pcr BANK NUMBER
pcr() {
    tpm pcrread -Q -o pcr.bin "$1:$2"
    hex pcr.bin
}

# Room for wrong passwords: 30 tries, no recovery within a flow.
many_tries() { tpm dictionarylockout -Q -s -n 30 -t 1000 -l 1000; }

# A parent for everything that needs one, ECC because it is quick: primary.ctx
primary() { tpm createprimary -Q -C o -G ecc -c primary.ctx; }

# A restricted signing key for attestation, below primary.ctx: ak.ctx, ak.pem
attestation_key() { # ALGORITHM
    tpm create -Q -C primary.ctx -G "$1" -u ak.pub -r ak.priv \
        -a "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign|restricted"
    tpm load -Q -C primary.ctx -u ak.pub -r ak.priv -c ak.ctx
    tpm readpublic -Q -c ak.ctx -f pem -o ak.pem -q ak.qualified
}

# Power off and on again, without Startup.
power_cycle() {
    echo "+ power cycle" >&2
    $TPM_RESET || die "the power cycle failed"
}

# TPM Reset: an orderly shutdown, power off and on, Startup(CLEAR).
reset_tpm() {
    tpm shutdown -c
    power_cycle
    tpm startup -c
}

# The TPM may be started already, by its firmware or its server: then it answers TPM_RC_INITIALIZE.
if ! tpm2_startup -c >startup.log 2>&1 && ! grep -Fq "(0x100)" startup.log; then
    cat startup.log >&2
    die "the TPM does not start"
fi
if [ "${TPM_CLEAR-}" = 1 ]; then
    tpm2_clear -Q
fi
