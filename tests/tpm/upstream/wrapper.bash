# Sourced by the scripts beside it: their folders, their sources, and a program `tpm_server` as the suites expect it, which is
# the project's server.
# shellcheck shell=bash

root=$(realpath "$(dirname "$0")/../../..")
# shellcheck disable=SC2034 # for the scripts
target=${CARGO_TARGET_DIR:-$root/target}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# unpack FOLDER [PATH...]: puts $commit of the repository $source into FOLDER, all of it or only these paths.
unpack() {
    local folder=$1
    shift
    git clone --quiet --bare "$source" "$work/source"
    mkdir -p "$folder"
    git --git-dir="$work/source" archive "$commit" "$@" | tar x -C "$folder"
}

# make_wrapper SERVER FOLDER: puts FOLDER/bin/tpm_server, which takes `-port N`. Each start begins with a state of its own
# in the present folder, in which the SHA-1 bank of PCRs is allocated: it is off by default, and the suites use it.
make_wrapper() {
    local server=$1 folder=$2 pid port
    mkdir -p "$folder/bin" "$folder/real"
    # helpers.sh of tpm2-tools looks for a process of this name among those who listen.
    ln -s "$(realpath "$server")" "$folder/real/tpm_server"
    "$server" --mssim-port 0 --state "$folder/state" >"$folder/listening" &
    pid=$!
    for _ in $(seq 100); do
        [ -s "$folder/listening" ] && break
        sleep 0.1
    done
    port=$(sed -n 's/.*mssim=\([0-9]*\).*/\1/p' "$folder/listening")
    (
        export TPM2TOOLS_TCTI="mssim:host=127.0.0.1,port=$port"
        tpm2_startup -c
        tpm2_pcrallocate -Q sha1:all+sha256:all+sha384:all
        tpm2_shutdown -c
    )
    kill "$pid"
    wait "$pid" || :
    cat >"$folder/bin/tpm_server" <<END
#!/bin/sh
cp $folder/state "\$PWD/tpm-state"
exec $folder/real/tpm_server --mssim-port "\$2" --state "\$PWD/tpm-state" --durability none
END
    chmod +x "$folder/bin/tpm_server"
}
