#!/bin/bash
# Power off and on again, without TPM2_Startup:  power-cycle.bash mssim|swtpm PORT
# PORT is the command port; the platform (mssim) or control (swtpm) port is the next one.
set -eu
exec 3<>"/dev/tcp/127.0.0.1/$(($2 + 1))"

# Each request is answered by a number, 0 for success.
request() {
    printf '%b' "$1" >&3
    [ "$(timeout 10 head -c 4 <&3 | od -An -v -tx1 | tr -d ' \n')" = 00000000 ]
}

case $1 in
mssim)
    request '\0\0\0\02' # signal power off
    request '\0\0\0\01' # signal power on
    request '\0\0\0\013' # signal NV on
    printf '%b' '\0\0\0\024' >&3 # session end
    ;;
swtpm)
    request '\0\0\0\02\0\0\0\0' # CMD_INIT, no flags
    ;;
*) exit 2 ;;
esac
