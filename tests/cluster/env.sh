# Names, addresses and paths of the test cluster. Sourced by every script here; knows no programs.
# PARTS: what build.sh has made, kept. RUN: what one cluster writes, gone with it.
PARTS=${PARTS:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/target/peers/cluster}
RUN=${RUN:-$PARTS/run}
SYS=$PARTS/sys BIN=$PARTS/bin IMAGES=$PARTS/images
export PARTS RUN SYS BIN IMAGES

export NODE=node1 NODE_IP=10.123.0.1
export POD_CIDR=10.244.0.0/24 SERVICE_CIDR=10.96.0.0/16 API_IP=10.96.0.1 DNS_IP=10.96.0.10
export ISSUER=https://kubernetes.default.svc.cluster.local
export CONTAINERD=/run/containerd/containerd.sock
# The Debian programs are unpacked, not installed: they find their libraries here.
LIB=$SYS/usr/lib/$(uname -m)-linux-gnu
export LD_LIBRARY_PATH=$LIB XTABLES_LIBDIR=$LIB/xtables
export PATH=$RUN/links:$BIN:$SYS/usr/bin:$SYS/usr/sbin:$PATH
export KUBECONFIG=$RUN/admin.kubeconfig
# Helm keeps what it downloads: nothing is downloaded, and nothing belongs into the home folder.
export HELM_CACHE_HOME=$RUN/helm HELM_CONFIG_HOME=$RUN/helm HELM_DATA_HOME=$RUN/helm
