#!/usr/bin/env python3
"""Writes finial's images: one static binary under the names that manifests made for SPIRE call it by.

The images differ in what runs when a manifest says nothing but `args:`, so that whoever comes from SPIRE
replaces image names and nothing else. They share their one layer. Prints each image, and the size.
"""

import argparse
import os
import re
import struct
import subprocess
import sys

from oci import Archive, Layer

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# The ELF program header that names a loader.
PT_INTERP = 3

# Where SPIRE's images have their programs; guides run /opt/spire/bin/spire-server and ./bin/spire-server.
HOME, BIN = "/opt/spire", "/opt/spire/bin"
BINARY = "/usr/bin/finial"
# The user of SPIRE's server image, who owns the folders that its default configuration writes to.
SERVER_USER = 1000
# Name -> what runs before the `args:` of a manifest, where, and as whom. As in the images of SPIRE 1.16,
# spiffe-csi 0.2 and spire-controller-manager 0.6, but that the controller is not root: it shares the
# server's pod, and has the server's user to open the server's socket.
IMAGES = {
    "finial": ([BINARY], "/", 0),
    "spire-server": ([BIN + "/spire-server", "run"], HOME, SERVER_USER),
    "spire-agent": ([BIN + "/spire-agent", "run"], HOME, 0),
    "spiffe-csi-driver": (["/spiffe-csi-driver"], "/", 0),
    "spire-controller-manager": (["/spire-controller-manager"], "/", SERVER_USER),
}
SERVER_FOLDERS = [
    "/run/spire/server", "/run/spire/server/private", "/tmp/spire-server",
    "/tmp/spire-server/private", "/var/lib/spire/server",
]
AGENT_FOLDERS = ["/run/spire/agent/public", "/tmp/spire-agent/public", "/var/lib/spire/agent"]


def main():
    options = arguments()
    check_static(options.binary)
    archive = Archive(annotations(options.version))
    # Compressed for the way through registries; the bound is on what a node unpacks.
    layer = archive.layer(content(options.binary), compress=True)
    for name, (entrypoint, folder, user) in IMAGES.items():
        named = f"{options.prefix}/{name}:{options.version}"
        config = {
            "Entrypoint": entrypoint,
            "Env": [f"PATH={BIN}:/usr/bin:/bin"],
            "User": f"{user}:{user}",
            "WorkingDir": folder,
        }
        print(named, archive.image(named, [layer], config, title=name))
    archive.write(options.out)
    size = os.path.getsize(options.binary)
    print(f"{options.out}: {size / 1e6:.1f} MB unpacked, {layer['size'] / 1e6:.1f} MB to pull")
    if options.max_mb and size > options.max_mb * 1_000_000:
        sys.exit(f"the binary has {size} bytes, where {options.max_mb} MB are allowed")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", required=True, help="the static binary")
    parser.add_argument("--out", required=True, help="the archive to write")
    parser.add_argument("--prefix", required=True, help="registry and folder of the images")
    parser.add_argument("--max-mb", type=int, help="the bound on what a node unpacks")
    parser.add_argument("--version", default=version(), help="the tag; the crate's version if not given")
    return parser.parse_args()


def content(binary):
    layer = Layer()
    layer.copy(binary, BINARY)
    for name in IMAGES:
        if name != "finial":
            layer.link(f"{BIN}/{name}", BINARY)
    # Where upstream's images have these two.
    layer.link("/spiffe-csi-driver", BINARY)
    layer.link("/spire-controller-manager", BINARY)
    layer.folder("/tmp", mode=0o1777)
    for path in SERVER_FOLDERS:
        layer.folder(path, owner=SERVER_USER)
    for path in AGENT_FOLDERS:
        layer.folder(path)
    layer.file("/etc/passwd", b"root:x:0:0::/:\nspire:x:1000:1000::/:\n")
    layer.file("/etc/group", b"root:x:0:\nspire:x:1000:\n")
    # Without it glibc would ask a name service that a static binary cannot load.
    layer.file("/etc/nsswitch.conf", b"hosts: files dns\n")
    return layer


def check_static(binary):
    """A binary that wants a loader would start on no node: nothing else is in the image."""
    with open(binary, "rb") as file:
        head = file.read(64 * 1024)
    if head[:5] != b"\x7fELF\x02":
        sys.exit(f"{binary} is no 64-bit ELF binary")
    # ELF-64, little-endian: where the program headers are, how large each is, and how many.
    (start,) = struct.unpack_from("<Q", head, 0x20)
    size, count = struct.unpack_from("<HH", head, 0x36)
    kinds = [struct.unpack_from("<I", head, start + index * size)[0] for index in range(count)]
    if PT_INTERP in kinds:
        sys.exit(f"{binary} wants a loader: build it with RUSTFLAGS='-C target-feature=+crt-static'")


def version():
    with open(os.path.join(ROOT, "Cargo.toml"), encoding="utf-8") as file:
        return re.search(r'^version = "(.*)"$', file.read(), re.MULTILINE).group(1)


def annotations(tag):
    prefix = "org.opencontainers.image."
    known = {
        prefix + "description": "Workload identity for service meshes",
        prefix + "licenses": "Apache-2.0",
        prefix + "version": tag,
    }
    if os.path.exists(os.path.join(ROOT, ".git")):
        revision = subprocess.run(
            ["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        )
        if revision.returncode == 0:
            known[prefix + "revision"] = revision.stdout.strip()
    return known


if __name__ == "__main__":
    main()
