#!/bin/bash
# Runs the integration scripts of tpm2-tools 5.4, the version of Debian 12's tools, against a TPM:
#
#     tests/tpm/upstream/tpm2-tools.sh tpm-server|swtpm [NAME...]
#
# with Debian's own binaries, by the project's own helpers.sh. Needs tpm2-tools, tpm2-abrmd, libtss2-tcti-tabrmd0, dbus-daemon,
# iproute2, openssl, xxd, expect, python3-yaml; swtpm for the comparison; for tpm-server what `cargo build` makes.
#
# The sources come from where TPM2_TOOLS_SOURCE says (a git repository, also a bare one), by default the project's own
# public one; the scripts of the wanted version are unpacked into a temporary folder. Prints NAME and pass, fail or skip
# for each script, and writes the same to RESULTS if that is set; logs are kept in LOGS (default: target/tpm-upstream).
# tpm2-tools.expected has what came of it, with the reason for each that did not pass.
set -euo pipefail

version=5.4
commit=137ab2a46004da03652ab410178670c25cfe090c
source=${TPM2_TOOLS_SOURCE:-https://github.com/tpm2-software/tpm2-tools}
kind=${1:?tpm-server or swtpm}
shift
# shellcheck source=wrapper.bash
. "$(dirname "$0")/wrapper.bash"
logs=${LOGS:-$target/tpm-upstream}/tpm2-tools-$kind
sources=${SOURCES:-$target/tpm-upstream/tpm2-tools-$version}
mkdir -p "$logs" "$work/bin"

if [ ! -d "$sources/man" ]; then
    unpack "$sources" test tools man
fi

# helpers.sh starts what it finds under the name of the simulator, and looks for that name among those who listen.
case $kind in
swtpm) export TPM2_SIM=swtpm ;;
tpm-server)
    make_wrapper "${TPM_SERVER:-$target/debug/macadamia-tpm-server}" "$work"
    export TPM2_SIM=tpm_server
    ;;
*) echo "neither tpm-server nor swtpm: $kind" >&2; exit 2 ;;
esac

export PATH="$work/bin:$sources/test/integration:$PATH"
export TPM2_TOOLS_TEST_FIXTURES=$sources/test/integration/fixtures
export abs_builddir=$sources abs_srcdir=$sources srcdir=$sources PYTHON=/usr/bin/python3
# Each script has a TPM of its own, so that it may leave it as it likes. Debian 12 has tpm2-tss 3.2.1.
export TPM2TOOLS_TEST_PERSISTENT=true TSS_VERSION=3.2.1 TMPDIR=$work

run() { # SCRIPT
    name=$(basename "$1" .sh)
    # As in the project's Makefile: through the resource manager, where it is installed.
    abrmd=$(command -v tpm2-abrmd || :)
    status=0
    (cd "$sources" && TPM2_ABRMD=$abrmd timeout -k 5 180 dbus-run-session -- bash "${1#"$sources/"}") >"$logs/$name.log" 2>&1 || status=$?
    case $status in
    0) result=pass ;;
    77) result=skip ;;
    124 | 137) result="fail (time limit)" ;;
    *) result=fail ;;
    esac
    echo "$name $result"
}
export -f run
export logs work sources

scripts=()
for script in "$sources"/test/integration/tests/*.sh "$sources"/test/integration/fapi/*.sh; do
    name=$(basename "$script" .sh)
    if [ $# = 0 ] || [[ " $* " == *" $name "* ]]; then scripts+=("$script"); fi
done
printf '%s\n' "${scripts[@]}" | xargs -P "${JOBS:-2}" -I{} bash -c 'run {}' | tee "$work/results"
sort "$work/results" >"${RESULTS:-$logs/results}"
echo "$(grep -c ' pass' "$work/results" || :) of ${#scripts[@]} pass" >&2
