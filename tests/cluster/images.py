#!/usr/bin/env python3
"""Writes the images of test pods from what build.sh has brought: base.tar for every cluster, istio.tar for
those with a mesh. Run by build.sh, with env.sh's variables and FINIAL_ENVOY."""

import glob
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "scripts"))
from oci import Archive, Layer  # noqa: E402

BIN, SYS = os.environ["BIN"], os.environ["SYS"]
SHELL = ["sh", "cat", "env", "id", "ls", "nc", "sleep"]
LIBC = ["libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0", "librt.so.1"]
NETFILTER = ["ip4tc", "ip6tc", "xtables", "mnl", "netfilter_conntrack", "nfnetlink", "nftnl"]
IPTABLES = [
    family + kind + action
    for family in ("iptables", "ip6tables")
    for kind in ("", "-nft")
    for action in ("", "-save", "-restore")
]


def main():
    base = Archive()
    image(base, "pause", program("pause"), Entrypoint=["/pause"])
    image(base, "busybox", shell(Layer()), Cmd=["/bin/sh"])
    image(base, "agnhost", shell(program("agnhost")), Entrypoint=["/agnhost"], Cmd=["pause"])
    image(base, "coredns", program("coredns"), Entrypoint=["/coredns"])
    registrar = "csi-node-driver-registrar"
    image(base, registrar, program(registrar), Entrypoint=["/" + registrar])
    base.write(os.path.join(os.environ["IMAGES"], "base.tar"))

    istio = Archive()
    image(
        istio, "pilot", program("pilot-discovery", "/usr/local/bin"), User="1337:1337",
        Entrypoint=["/usr/local/bin/pilot-discovery"],
    )
    image(
        istio, "proxyv2", proxy(), Entrypoint=["/usr/local/bin/pilot-agent"],
        Env=["PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    )
    istio.write(os.path.join(os.environ["IMAGES"], "istio.tar"))


def image(archive, name, layer, **config):
    for folder in ("dev", "etc", "proc", "run", "sys", "var"):
        layer.folder(folder)
    layer.folder("tmp", mode=0o1777)
    layer.file("etc/passwd", b"root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
    layer.file("etc/group", b"root:x:0:\nnobody:x:65534:\n")
    layer.file("etc/nsswitch.conf", b"hosts: files dns\n")
    config.setdefault("Env", ["PATH=/bin:/usr/bin"])
    archive.image(f"localhost/{name}:1", [archive.layer(layer)], config)


def program(name, folder=""):
    layer = Layer()
    layer.copy(os.path.join(BIN, name), f"{folder}/{name}")
    return layer


def shell(layer):
    """Adds busybox and the commands that tests run."""
    layer.copy(os.path.join(SYS, "bin/busybox"), "bin/busybox")
    for command in SHELL:
        layer.link("bin/" + command, "busybox")
    return layer


def proxy():
    """Istio's proxy: its agent, the Envoy of Envoy's own project, and Debian's iptables with their libraries."""
    layer = shell(program("pilot-agent", "/usr/local/bin"))
    layer.copy(os.environ["FINIAL_ENVOY"], "usr/local/bin/envoy")
    layer.copy(
        os.path.join(os.environ["PARTS"], "istio/envoy_bootstrap.json"),
        "var/lib/istio/envoy/envoy_bootstrap_tmpl.json",
    )
    machine = os.uname().machine
    libraries = f"lib/{machine}-linux-gnu"
    for name in LIBC:
        layer.copy(f"/{libraries}/{name}", f"{libraries}/{name}")
    (loader,) = glob.glob("/lib64/ld-linux-x86-64.so.2") + glob.glob("/lib/ld-linux-aarch64.so.1")
    layer.copy(loader, loader)
    layer.copy(os.path.join(SYS, "usr/sbin/xtables-nft-multi"), "usr/sbin/xtables-nft-multi")
    found = [f"{SYS}/usr/{libraries}/lib{name}.so.*" for name in NETFILTER]
    for pattern in [*found, f"{SYS}/usr/{libraries}/xtables/*.so"]:
        for path in glob.glob(pattern):
            layer.copy(path, path[len(SYS):])
    for name in IPTABLES:
        layer.link("usr/sbin/" + name, "xtables-nft-multi")
    return layer


if __name__ == "__main__":
    main()
