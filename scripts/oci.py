"""Container images without a container engine: layers, image configurations and one archive of them all.

Owns the OCI formats (image-spec 1.1: layout, index, manifest, config) and nothing of what is in an image.
The same input gives the same bytes: entries in the order of their paths, no times, owners by number.
Needs nothing beside the standard library.
"""

import gzip
import hashlib
import io
import json
import os
import tarfile

MEDIA = "application/vnd.oci.image."
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Layer:
    """Files, folders and links, written by `tar`."""

    def __init__(self):
        self._entries = {}

    def folder(self, path, mode=0o755, owner=0):
        """A folder with this mode and owner; those above it appear with the usual ones."""
        self._put(path, tarfile.DIRTYPE, mode, owner)

    def file(self, path, data, mode=0o644):
        """A file of root's with these bytes."""
        self._put(path, tarfile.REGTYPE, mode, 0, data=data)

    def copy(self, source, path):
        """A copy of a file of this machine that everybody may read, and run if its owner may."""
        with open(source, "rb") as file:
            data = file.read()
        self.file(path, data, 0o755 if os.access(source, os.X_OK) else 0o644)

    def link(self, path, target):
        """A symbolic link."""
        self._put(path, tarfile.SYMTYPE, 0o777, 0, target=target)

    def tar(self):
        """The layer's bytes."""
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for path in sorted(self._entries):
                entry, data = self._entries[path]
                archive.addfile(entry, io.BytesIO(data))
        return out.getvalue()

    def _put(self, path, kind, mode, owner, data=b"", target=""):
        name = path.strip("/")
        above = os.path.dirname(name)
        if above and above not in self._entries:
            self.folder(above)
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode, entry.size, entry.linkname = kind, mode, len(data), target
        entry.uid = entry.gid = owner
        self._entries[name] = entry, data


class Archive:
    """An OCI image layout in one tar file, which `ctr images import`, `skopeo copy oci-archive:…` and
    `docker load` read. Images that share a layer hold it once."""

    def __init__(self, annotations=None):
        self._annotations = annotations or {}
        self._blobs = {}
        self._manifests = []

    def layer(self, layer, compress=False):
        """Takes a layer in; the answer is for `image`."""
        data = layer.tar()
        plain = hashlib.sha256(data).hexdigest()
        kind = MEDIA + "layer.v1.tar"
        if compress:
            data, kind = gzip.compress(data, compresslevel=9, mtime=0), kind + "+gzip"
        return {**self._blob(kind, data), "plain": "sha256:" + plain}

    def image(self, name, layers, config, title=None):
        """Adds an image: its name with tag, its layers, and `config` as in image-spec's config.md.

        The answer is the digest of its manifest.
        """
        annotations = dict(self._annotations)
        if title:
            annotations["org.opencontainers.image.title"] = title
        described = {
            "architecture": ARCHITECTURES[os.uname().machine],
            "os": "linux",
            "config": {**config, "Labels": annotations} if annotations else config,
            "rootfs": {"type": "layers", "diff_ids": [layer["plain"] for layer in layers]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MEDIA + "manifest.v1+json",
            "config": self._blob(MEDIA + "config.v1+json", written(described)),
            "layers": [{key: layer[key] for key in ("mediaType", "digest", "size")} for layer in layers],
            "annotations": annotations,
        }
        blob = self._blob(MEDIA + "manifest.v1+json", written(manifest))
        # Containerd takes the whole name from its own annotation, others the tag from the standard one.
        blob["annotations"] = {
            "io.containerd.image.name": name,
            "org.opencontainers.image.ref.name": name.rsplit(":", 1)[1],
        }
        self._manifests.append(blob)
        return blob["digest"]

    def write(self, path):
        """Writes the archive, whole or not at all."""
        index = {
            "schemaVersion": 2,
            "mediaType": MEDIA + "index.v1+json",
            "manifests": self._manifests,
        }
        files = {"oci-layout": written({"imageLayoutVersion": "1.0.0"}), "index.json": written(index)}
        files.update(sorted(self._blobs.items()))
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with tarfile.open(path + ".new", "w") as archive:
            for name, data in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
        os.rename(path + ".new", path)

    def _blob(self, kind, data):
        digest = hashlib.sha256(data).hexdigest()
        self._blobs["blobs/sha256/" + digest] = data
        return {"mediaType": kind, "digest": "sha256:" + digest, "size": len(data)}


def written(value):
    """JSON in one way only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
