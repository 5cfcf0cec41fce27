#!/bin/bash
# Brings everything that the test cluster is made of to target/peers/cluster: Debian's containerd, runc,
# CNI, etcd and iptables (unpacked, not installed), Kubernetes, CoreDNS and Istio (built from their Go
# modules, for no registry of images is used), and the images of test pods. Each part is stamped with its
# version; the second run does nothing. Cold, two cores take a quarter of an hour.
set -euo pipefail
HERE=$(dirname "$(readlink -f "$0")")
. "$HERE/env.sh"
unset LD_LIBRARY_PATH # Cc and go are the machine's own.

KUBERNETES=1.34.4
COREDNS=1.14.7
# Istio of August 2026; its charts and samples come with the module.
ISTIO=0.0.0-20260827124520-eed52ebb66ad
DEBIAN="containerd runc containernetworking-plugins busybox-static etcd-server etcd-client iptables
    libip4tc2 libip6tc2 libxtables12 libmnl0 libnetfilter-conntrack3 libnfnetlink0 libnftnl11 conntrack
    libseccomp2"

export CGO_ENABLED=0 GOWORK=off GOTOOLCHAIN=local
GO="go build -p $(nproc) -trimpath -buildvcs=false"
SMALL="-s -w"
ISTIO_DIR=

main() {
    command -v go >/dev/null || die "go is missing: install Go 1.26 or newer from https://go.dev/dl"
    [ "$(id -u)" -eq 0 ] || die "the test cluster needs root"
    mkdir -p "$BIN" "$IMAGES" "$PARTS/stamps"
    part "debian-$(. /etc/os-release && echo "$VERSION_ID")" debian
    part "kubernetes-$KUBERNETES" kubernetes
    part "registrar-$KUBERNETES-$(sum "$HERE/registrar.go")" registrar
    part "coredns-$COREDNS" installed "github.com/coredns/coredns@v$COREDNS"
    part "istio-$ISTIO" istio
    part "images-$KUBERNETES-$COREDNS-$ISTIO-$(sum "$HERE"/{images.py,pause.c,registrar.go} "$FINIAL_ENVOY")" images
}

debian() {
    rm -rf "$SYS" "$PARTS/debs"
    mkdir -p "$SYS" "$PARTS/debs"
    cd "$PARTS/debs"
    # Unquoted: one word per package. The lists may be older than the packages.
    apt-get -qq download $DEBIAN 2>/dev/null || { apt-get -qq update && apt-get -qq download $DEBIAN; }
    for package in *.deb; do dpkg -x "$package" "$SYS"; done
}

# Kubernetes replaces its own parts by folders of its repository, so it cannot be a dependency as it is:
# this module replaces them by the same parts as they are published.
wrapper() {
    wrapper=$PARTS/wrapper-$KUBERNETES
    [ ! -f "$wrapper/go.mod" ] || return 0
    mkdir -p "$wrapper/probe"
    printf 'module probe\n' >"$wrapper/probe/go.mod"
    source=$(module "$wrapper/probe" "k8s.io/kubernetes@v$KUBERNETES")
    {
        printf 'module wrapper\n\n'
        grep -E '^(go|godebug) ' "$source/go.mod"
        printf '\nrequire k8s.io/kubernetes v%s\n\nreplace (\n' "$KUBERNETES"
        sed -n 's#^\t\./staging/src/\(k8s\.io/[a-z-]*\)$#\1#p' "$source/go.work" |
            while read -r part; do printf '\t%s => %s v0.%s\n' "$part" "$part" "${KUBERNETES#1.}"; done
        printf ')\n'
    } >"$wrapper/go.mod.new"
    cp "$source/go.sum" "$wrapper/go.sum"
    mv "$wrapper/go.mod.new" "$wrapper/go.mod"
}

kubernetes() {
    wrapper
    cd "$wrapper"
    version=k8s.io/component-base/version client=k8s.io/client-go/pkg/version
    minor=$(echo "$KUBERNETES" | cut -d. -f2)
    flags="$SMALL -X $version.gitVersion=v$KUBERNETES -X $version.gitMajor=1 -X $version.gitMinor=$minor
        -X $version.gitTreeState=clean -X $client.gitVersion=v$KUBERNETES"
    programs=$(printf 'k8s.io/kubernetes/cmd/%s ' \
        kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl)
    # Unquoted: one word per program.
    $GO -mod=mod -ldflags "$flags" -o "$BIN/" $programs
    # Agnhost is the program of Kubernetes' own test pods: a web server, a client, a probe.
    $GO -mod=mod -ldflags "$SMALL" -o "$BIN/agnhost" k8s.io/kubernetes/test/images/agnhost
}

registrar() {
    wrapper
    mkdir -p "$wrapper/registrar"
    cp "$HERE/registrar.go" "$wrapper/registrar/main.go"
    cd "$wrapper"
    $GO -mod=mod -ldflags "$SMALL" -o "$BIN/csi-node-driver-registrar" ./registrar
}

# installed PACKAGE@VERSION…
installed() { GOBIN=$BIN GOFLAGS=-buildvcs=false go install -p "$(nproc)" -trimpath -ldflags "$SMALL" "$@"; }

istio() {
    for program in pilot/cmd/pilot-agent pilot/cmd/pilot-discovery istioctl/cmd/istioctl; do
        installed "istio.io/istio/$program@v$ISTIO"
    done
    mkdir -p "$PARTS/probe"
    printf 'module probe\n' >"$PARTS/probe/go.mod"
    source=$(module "$PARTS/probe" "istio.io/istio@v$ISTIO")
    rm -rf "$PARTS/istio" "$PARTS/istio.new"
    mkdir -p "$PARTS/istio.new"
    cp -r --no-preserve=mode "$source/manifests/charts" "$source/samples/security/spire" \
        "$source/tools/packaging/common/envoy_bootstrap.json" "$PARTS/istio.new/"
    mv "$PARTS/istio.new" "$PARTS/istio"
}

images() {
    cc -Os -static -s -o "$BIN/pause" "$HERE/pause.c"
    python3 "$HERE/images.py"
}

# part NAME COMMAND…: runs the command once for each NAME, in a shell of its own.
part() {
    stamp=$PARTS/stamps/$1
    [ ! -e "$stamp" ] || return 0
    name=$1
    shift
    say "making $name"
    ("$@")
    : >"$stamp"
}

# module FOLDER MODULE@VERSION: where the Go command keeps the module.
module() { (cd "$1" && go mod download -json "$2") | sed -n 's/^\t"Dir": "\(.*\)",\{0,1\}$/\1/p'; }
sum() { cat "$@" | sha256sum | cut -c1-12; }
say() { printf 'cluster: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

main
