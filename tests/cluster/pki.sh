#!/bin/bash
# The cluster's certificates, service account key and kubeconfigs, fresh for each cluster.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/env.sh"
unset LD_LIBRARY_PATH # Openssl is the machine's own.
mkdir -p "$RUN/pki"
cd "$RUN/pki"

key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"; }

# certificate NAME SUBJECT USAGE [NAMES]
certificate() {
    key "$1"
    {
        printf 'basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=%s\n' "$3"
        [ -z "${4:-}" ] || printf 'subjectAltName=%s\n' "$4"
    } >"$1.extensions"
    openssl req -new -key "$1.key" -subj "$2" |
        openssl x509 -req -CA ca.crt -CAkey ca.key -CAcreateserial -days 1 \
            -extfile "$1.extensions" -out "$1.crt" 2>/dev/null
}

# kubeconfig NAME: for the holder of that certificate.
kubeconfig() {
    cat >"$RUN/$1.kubeconfig" <<Y
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:6443", certificate-authority: $PWD/ca.crt}}]
users: [{name: u, user: {client-certificate: $PWD/$1.crt, client-key: $PWD/$1.key}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
Y
}

key ca
openssl req -x509 -new -key ca.key -subj /CN=kubernetes -days 1 -out ca.crt \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature

service=kubernetes.default.svc
names=DNS:kubernetes,DNS:kubernetes.default,DNS:$service,DNS:$service.cluster.local,DNS:localhost
certificate kube-apiserver /CN=kube-apiserver serverAuth "$names,IP:127.0.0.1,IP:$NODE_IP,IP:$API_IP"
certificate kubelet-server "/CN=$NODE" serverAuth "DNS:$NODE,DNS:localhost,IP:127.0.0.1,IP:$NODE_IP"
certificate kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client clientAuth
certificate front-proxy-client /CN=front-proxy-client clientAuth
certificate admin /O=system:masters/CN=kubernetes-admin clientAuth
certificate kube-controller-manager /CN=system:kube-controller-manager clientAuth
certificate kube-scheduler /CN=system:kube-scheduler clientAuth
certificate kube-proxy /CN=system:kube-proxy clientAuth
certificate kubelet "/O=system:nodes/CN=system:node:$NODE" clientAuth
for user in admin kube-controller-manager kube-scheduler kube-proxy kubelet; do kubeconfig "$user"; done

openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out sa.key
openssl pkey -in sa.key -pubout -out sa.pub
