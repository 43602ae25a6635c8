#!/bin/bash
# Builds tpm2-tss 3.2.1, the version of Debian 12's libraries, and runs its integration tests against a TPM:
#
#     tests/tpm/upstream/tpm2-tss.sh tpm-server|swtpm [NAME...]
#
# by the project's own int-log-compiler.sh. Needs build-essential, autoconf, automake, libtool, autoconf-archive, pkg-config,
# libltdl-dev, libssl-dev, libjson-c-dev, libcurl4-openssl-dev, libcmocka-dev, uthash-dev, acl, iproute2, openssl; swtpm, also
# where it is not the one that is tested (configure looks for it); for tpm-server what `cargo build` makes.
#
# The sources come from where TPM2_TSS_SOURCE says (a git repository, also a bare one), by default the project's own public
# one. They are built once, in BUILD (default: target/tpm-upstream/tpm2-tss-3.2.1). Prints NAME and pass, fail or skip for each
# test, and writes the same to RESULTS if that is set; each test's log is beside its binary in the build's folder and copied
# to LOGS. tpm2-tss.expected has what came of it, with the reason for each that did not pass.
set -euo pipefail

version=3.2.1
commit=3e322563de9f833e0c879ed5d7311784f2e6ebfc
source=${TPM2_TSS_SOURCE:-https://github.com/tpm2-software/tpm2-tss}
kind=${1:?tpm-server or swtpm}
shift
# shellcheck source=wrapper.bash
. "$(dirname "$0")/wrapper.bash"
logs=${LOGS:-$target/tpm-upstream}/tpm2-tss-$kind
build=${BUILD:-$target/tpm-upstream/tpm2-tss-$version}
mkdir -p "$logs"

if [ ! -f "$build/build/Makefile" ]; then
    unpack "$build"
    mkdir -p "$build/build"
    # The version comes from git, which an archive has not.
    sed -i "s/^git describe.*/echo $version >VERSION/" "$build/bootstrap"
    (
        cd "$build"
        ./bootstrap
        cd build
        ../configure --enable-integration --enable-tcti-swtpm --enable-tcti-mssim --disable-doxygen-doc \
            --disable-tcti-libtpms CFLAGS="-O1 -g0 -w"
    ) >"$logs/configure.log" 2>&1
fi
# All tests, and none of them run.
make -C "$build/build" -j "${JOBS:-2}" check TESTS= >"$logs/build.log" 2>&1

# int-log-compiler.sh starts `tpm_server -port N` and looks for the process among those who listen.
case $kind in
swtpm) tcti=swtpm ;;
tpm-server)
    tcti=mssim
    make_wrapper "${TPM_SERVER:-$target/debug/macadamia-tpm-server}" "$work"
    ;;
*) echo "neither tpm-server nor swtpm: $kind" >&2; exit 2 ;;
esac
export PATH="$work/bin:$PATH"

# configure keeps the PATH that it saw.
# One after the other takes 15 minutes, most of it waiting for servers to start; side by side less.
choice=()
if [ $# != 0 ]; then
    tests=
    for name in "$@"; do
        for path in "$build"/build/test/*/"$name".*int; do
            [ ! -e "$path" ] || tests="$tests ${path#"$build/build/"}"
        done
    done
    choice=("TESTS=$tests")
fi
find "$build/build/test" -name '*.trs' -delete
make -C "$build/build" -k -j "${JOBS:-3}" check "PATH=$PATH" "INTEGRATION_TCTI=$tcti" "${choice[@]}" >"$logs/check.log" 2>&1 || :

for trs in "$build"/build/test/*/*.trs; do
    name=$(basename "$trs" .trs)
    log=${trs%.trs}.log
    [ ! -f "$log" ] || cp "$log" "$logs/"
    case $(sed -n 's/^:test-result: //p' "$trs" | head -1) in
    PASS) echo "$name pass" ;;
    SKIP) echo "$name skip" ;;
    *) echo "$name fail" ;;
    esac
done | sort | tee "${RESULTS:-$logs/results}"
echo "$(grep -c ' pass' "${RESULTS:-$logs/results}" || :) of $(wc -l <"${RESULTS:-$logs/results}") pass" >&2
