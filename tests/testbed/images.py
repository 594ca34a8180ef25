"""Container images without a registry: one static binary in one layer, written by hand."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_BIN = PurePosixPath("/usr/local/bin")
_OCI = "application/vnd.oci.image"


def write_image(archive: Path, name: str, binary: Path, program: str) -> None:
    """Write an OCI archive that `ctr images import` knows as `name`.

    `binary` lies in it as /usr/local/bin/`program`, which is on its PATH and its entry point.
    """
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for folder in (*reversed(_BIN.parents[:-1]), _BIN, PurePosixPath("/tmp")):
            entry = tarfile.TarInfo(folder.relative_to("/").as_posix())
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder.name == "tmp" else 0o755
            tar.addfile(entry)
        tar.add(binary, (_BIN / program).relative_to("/").as_posix(), filter=_plain)
    layer = _blob("layer.v1.tar", written.getvalue())
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": [f"PATH={_BIN}"], "Entrypoint": [str(_BIN / program)]},
        "rootfs": {"type": "layers", "diff_ids": [layer[0]["digest"]]},
    }
    content = _blob("config.v1+json", json.dumps(config).encode())
    described = {
        "schemaVersion": 2,
        "mediaType": f"{_OCI}.manifest.v1+json",
        "config": content[0],
        "layers": [layer[0]],
    }
    manifest = _blob("manifest.v1+json", json.dumps(described).encode())
    index = {
        "schemaVersion": 2,
        "manifests": [manifest[0] | {"annotations": {"io.containerd.image.name": name}}],
    }
    with tarfile.open(archive, "w") as tar:
        _add(tar, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
        _add(tar, "index.json", json.dumps(index).encode())
        for descriptor, data in (content, manifest, layer):
            _add(tar, f"blobs/{descriptor['digest'].replace(':', '/')}", data)


def _blob(kind: str, data: bytes) -> tuple[dict[str, Any], bytes]:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return {"mediaType": f"{_OCI}.{kind}", "digest": digest, "size": len(data)}, data


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.mode, entry.uid, entry.gid = 0o755, 0, 0
    entry.uname = entry.gname = "root"
    return entry


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))
