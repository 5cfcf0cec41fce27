#!/bin/bash
# The node, within the cluster's namespaces. Run by cluster.sh, never by hand.
#
#   node.sh boot [IMAGES.tar…]      the namespaces' first process: mounts, network, programs
#   node.sh start|stop PROGRAM      one program of the node
set -uo pipefail
HERE=$(dirname "$(readlink -f "$0")")
. "$HERE/env.sh"
PKI=$RUN/pki

boot() {
    links
    mounts
    kernel_settings
    network
    start containerd
    start etcd
    start kube-apiserver
    images "$@" &
    local importing=$!
    within kubectl get --raw /readyz
    for program in kube-controller-manager kube-scheduler kubelet kube-proxy; do start "$program"; done
    within kubectl wait --for=condition=Ready "node/$NODE" --timeout=60s
    within kubectl get serviceaccount default
    within kubectl apply -f "$HERE/coredns.yaml"
    wait "$importing" || exit 1
    touch "$RUN/ready"
    # The first process must reap what the containers' shims leave: bash does so while it waits.
    while :; do sleep 3600 & wait $!; done
}

# Made for each cluster, so that what build.sh has made may be moved.
links() {
    mkdir -p "$RUN/links"
    for name in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
        ln -s "$SYS/usr/sbin/xtables-nft-multi" "$RUN/links/$name"
    done
}

# Nothing is written outside of $RUN and of these.
mounts() {
    mount --make-rprivate /
    mount --make-rshared /
    for folder in /run /var/log /var/lib/kubelet /var/lib/cni /var/lib/etcd-test; do
        mkdir -p "$folder"
        mount -t tmpfs -o mode=755 tmpfs "$folder"
    done
    mount --make-rshared /var/lib/kubelet
    mount --make-rshared /run
    mkdir -p /run/netns /run/lock /var/log/pods /var/log/containers
}

# The kubelet would write these for the whole machine: it is shown that they are as it wants them.
kernel_settings() {
    for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
        kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
        local path=/proc/sys/${setting%%=*} shown
        shown=/run/sysctl-$(echo "${setting%%=*}" | tr / -)
        echo "${setting##*=}" >"$shown"
        mount --bind "$shown" "$path"
    done
}

# The node has an address of its own that is not loopback's, for the kubelet accepts no other.
network() {
    ip link set lo up
    ip link add node0 type veth peer name node0-peer
    ip link set node0-peer up
    ip link set node0 up
    ip addr add "$NODE_IP/24" dev node0
    ip route add default dev node0
    echo 1 >/proc/sys/net/ipv4/ip_forward
    local bridged=/proc/sys/net/bridge/bridge-nf-call-iptables
    [ ! -e "$bridged" ] || echo 1 >"$bridged"
    hostname "$NODE"
}

images() {
    within ctr -a "$CONTAINERD" version
    for archive in "$@"; do
        ctr -a "$CONTAINERD" -n k8s.io images import "$archive" >>"$RUN/log/images.log" 2>&1 ||
            { echo "cannot import $archive" && return 1; }
    done
}

# Started again when it fails, as a node's init does: the kubelet gives up on a containerd that just begins.
start() {
    local program=$1
    local arguments
    mapfile -t arguments < <(arguments_of "$program")
    setsid bash -c 'until "$@"; do sleep 0.5; done' - "$program" "${arguments[@]}" \
        >>"$RUN/log/$program.log" 2>&1 </dev/null &
    echo $! >"$RUN/$program.pid"
}

# Killed with who would start it again, as by a node that fails: what runs in its pods goes on.
stop() {
    local pid
    pid=$(cat "$RUN/$1.pid")
    kill -KILL -- "-$pid"
    while [ -d "/proc/$pid" ] && ! grep -q '^State:.Z' "/proc/$pid/status"; do sleep 0.05; done
}

# One argument a line.
arguments_of() {
    case $1 in
    containerd) printf '%s\n' --config "$RUN/conf/containerd.toml" --log-level info ;;
    etcd) printf '%s\n' --name=e --data-dir=/var/lib/etcd-test \
        --listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379 \
        --listen-peer-urls=http://127.0.0.1:2380 --initial-advertise-peer-urls=http://127.0.0.1:2380 \
        --initial-cluster=e=http://127.0.0.1:2380 ;;
    kube-apiserver) printf '%s\n' --etcd-servers=http://127.0.0.1:2379 "--advertise-address=$NODE_IP" \
        --bind-address=0.0.0.0 --secure-port=6443 "--tls-cert-file=$PKI/kube-apiserver.crt" \
        "--tls-private-key-file=$PKI/kube-apiserver.key" "--client-ca-file=$PKI/ca.crt" \
        "--kubelet-client-certificate=$PKI/kubelet-client.crt" \
        "--kubelet-client-key=$PKI/kubelet-client.key" "--kubelet-certificate-authority=$PKI/ca.crt" \
        --kubelet-preferred-address-types=InternalIP "--service-account-issuer=$ISSUER" \
        "--service-account-key-file=$PKI/sa.pub" "--service-account-signing-key-file=$PKI/sa.key" \
        "--service-cluster-ip-range=$SERVICE_CIDR" --authorization-mode=Node,RBAC \
        --enable-admission-plugins=NodeRestriction --allow-privileged=true \
        "--audit-policy-file=$RUN/conf/audit.yaml" "--audit-log-path=$RUN/log/audit.json" \
        "--requestheader-client-ca-file=$PKI/ca.crt" \
        --requestheader-allowed-names=front-proxy-client \
        --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
        --requestheader-extra-headers-prefix=X-Remote-Extra- \
        "--proxy-client-cert-file=$PKI/front-proxy-client.crt" \
        "--proxy-client-key-file=$PKI/front-proxy-client.key" --profiling=false ;;
    kube-controller-manager) printf '%s\n' $(control_plane "$1") --use-service-account-credentials=true \
        "--service-account-private-key-file=$PKI/sa.key" "--root-ca-file=$PKI/ca.crt" \
        "--cluster-signing-cert-file=$PKI/ca.crt" "--cluster-signing-key-file=$PKI/ca.key" \
        "--requestheader-client-ca-file=$PKI/ca.crt" ;;
    kube-scheduler) printf '%s\n' $(control_plane "$1") ;;
    kubelet) printf '%s\n' "--config=$RUN/conf/kubelet.yaml" "--kubeconfig=$RUN/kubelet.kubeconfig" \
        --root-dir=/var/lib/kubelet --cert-dir=/run/kubelet-pki "--hostname-override=$NODE" \
        "--node-ip=$NODE_IP" --v=2 ;;
    kube-proxy) printf '%s\n' "--config=$RUN/conf/kube-proxy.yaml" ;;
    esac
}

control_plane() {
    local kubeconfig=$RUN/$1.kubeconfig
    echo "--kubeconfig=$kubeconfig --authentication-kubeconfig=$kubeconfig
        --authorization-kubeconfig=$kubeconfig --bind-address=127.0.0.1 --leader-elect=false
        --kube-api-qps=500 --kube-api-burst=1000 --profiling=false"
}

# within COMMAND…: waits until the command succeeds, and ends the node where it does not.
within() {
    for _ in $(seq 600); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.1
    done
    echo "this did not succeed within a minute: $*"
    exit 1
}

"$@"
