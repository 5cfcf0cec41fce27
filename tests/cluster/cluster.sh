#!/bin/bash
# A real Kubernetes of one node, in namespaces of its own: nothing is installed, nothing outside is touched.
#
#   cluster.sh up [IMAGES.tar…]     start it, with the images of these archives
#   cluster.sh exec COMMAND…        run a command in it, kubectl for instance
#   cluster.sh stop PROGRAM…        end programs of its node (kubelet, containerd, kube-apiserver)
#   cluster.sh start PROGRAM…       and start them again
#   cluster.sh down                 end it, leaving nothing
#
# One cluster at a time on a machine: all would share the control group /kubepods. Needs root and what
# build.sh has made.
set -euo pipefail
HERE=$(dirname "$(readlink -f "$0")")
. "$HERE/env.sh"
# Folders that the cluster mounts over.
COVERED="/var/lib/kubelet /var/lib/cni /var/lib/etcd-test"

main() {
    case ${1:-} in
    up) shift && up "$@" ;;
    exec) shift && inside "$@" ;;
    stop | start) for program in "${@:2}"; do inside "$HERE/node.sh" "$1" "$program"; done ;;
    down) down ;;
    *) sed -n 's/^#   //p' "$0" >&2 && exit 2 ;;
    esac
}

up() {
    [ ! -e "$RUN" ] || die "there is a cluster in $RUN: end it by tests/cluster/cluster.sh down"
    [ -z "$(control_groups)" ] || die "the control group kubepods is taken: another kubelet runs on this machine"
    mkdir -p "$RUN/log"
    : >"$RUN/made"
    for folder in $COVERED; do [ -d "$folder" ] || echo "$folder" >>"$RUN/made"; done
    "$HERE/pki.sh"
    "$HERE/config.sh"
    setsid unshare --net --mount --pid --uts --ipc --fork --kill-child --mount-proc --propagation private \
        "$HERE/node.sh" boot "$@" >"$RUN/log/node.log" 2>&1 </dev/null &
    echo $! >"$RUN/unshare.pid"
    within 5 first_process || failed "the cluster has no first process"
    within 120 test -e "$RUN/ready" -o ! -d "/proc/$!"
    [ -e "$RUN/ready" ] || failed "the cluster did not start"
}

failed() {
    tail -n 20 "$RUN/log/node.log" >&2
    down
    die "$*"
}

first_process() {
    first=$(cat "/proc/$!/task/$!/children")
    [ -n "$first" ] && echo "${first% }" >"$RUN/init.pid"
}

inside() {
    exec_in='cd "$0" && exec "$@"'
    nsenter -t "$(cat "$RUN/init.pid")" -m -n -p -u -i -- sh -c "$exec_in" "$PWD" "$@"
}

down() {
    [ -e "$RUN" ] || return 0
    # With `unshare` the namespaces' first process ends, and with that one every other.
    if [ -e "$RUN/unshare.pid" ]; then kill -KILL "$(cat "$RUN/unshare.pid")" 2>/dev/null || true; fi
    within 20 remove_control_groups || say "some control groups below kubepods are still in use"
    if [ -e "$RUN/made" ]; then xargs -r -a "$RUN/made" rmdir --ignore-fail-on-non-empty 2>/dev/null || true; fi
    rm -rf "$RUN"
}

control_groups() {
    find /sys/fs/cgroup -depth -type d \( -path '*/kubepods' -o -path '*/kubepods/*' \) 2>/dev/null || true
}

remove_control_groups() {
    control_groups | while read -r group; do rmdir "$group" 2>/dev/null || true; done
    [ -z "$(control_groups)" ]
}

# within SECONDS COMMAND…: waits until the command succeeds.
within() {
    local left=$(($1 * 20))
    shift
    until "$@" 2>/dev/null; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || return 1
        sleep 0.05
    done
}

say() { printf 'cluster: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

main "$@"
