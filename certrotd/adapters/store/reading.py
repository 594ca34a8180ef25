"""What lies at the paths of a certificate, seen as a component sees it. Never writes.

Needs no rights but to read, and no lock: a switch in between is noticed and read again.
"""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING

from certrotd.adapters.store import layout
from certrotd.adapters.store.directory import READ, read_open
from certrotd.adapters.store.generations import digest, read_manifest
from certrotd.core.model import StoredFile, StoredSet
from certrotd.durable import let_go

if TYPE_CHECKING:
    from certrotd.adapters.store.directory import Content
    from certrotd.adapters.store.manifest import FileRecord, Manifest
    from certrotd.core.model import CertificateSpec, GenerationId, Output

_TRIES = 5


def read(spec: CertificateSpec) -> StoredSet:
    """Read all outputs, from one generation, and say what differs from what was published."""
    link = posixpath.join(layout.home_of(spec), layout.TREE, layout.LIVE, spec.name)
    found = StoredSet(files=())
    target = _target(link)
    for _ in range(_TRIES):
        found = _read(spec, target)
        before, target = target, _target(link)
        if target == before:
            break
    return found


def _read(spec: CertificateSpec, target: str | None) -> StoredSet:
    generation = layout.generation_in(spec.name, target) if target else None
    manifest = _manifest(spec, generation) if generation else None
    return StoredSet(
        files=tuple(_file(spec, each, manifest, target) for each in spec.outputs),
        generation=generation if manifest else None,
        issued_at=manifest.issued_at if manifest else None,
        published_at=manifest.published_at if manifest else None,
    )


def _file(
    spec: CertificateSpec, output: Output, manifest: Manifest | None, live: str | None
) -> StoredFile:
    try:
        found = _content(output.path)
    except OSError as e:
        return StoredFile(output=output, content=None, problem=(e.strerror or str(e)).lower())
    except ValueError as e:
        return StoredFile(output=output, content=None, problem=str(e))
    if found is None:
        return StoredFile(output=output, content=None)
    if manifest is not None:
        drift = _drift(spec, output, found, manifest.record(output.path))
    elif live is not None:
        drift = "its generation was damaged or replaced by somebody else"
    else:
        drift = ""
    return StoredFile(output=output, content=found.content, drift=drift)


def _drift(spec: CertificateSpec, output: Output, found: Content, record: FileRecord | None) -> str:
    link = _target(output.path)
    if link != layout.target_of(spec, output.path):
        what = "a file" if link is None else "another link"
        return f"somebody put {what} in the place of the published one"
    if record is None:
        return "somebody added it to the published files"
    differences = []
    if digest(found.content) != record.sha256:
        differences.append("its content was changed after it was published")
    if found.mode != output.mode:
        differences.append(f"its mode is {found.mode:04o} instead of {output.mode:04o}")
    uid = record.uid if output.uid is None else output.uid
    gid = record.gid if output.gid is None else output.gid
    if (found.uid, found.gid) != (uid, gid):
        differences.append(f"its owner is {found.uid}:{found.gid} instead of {uid}:{gid}")
    return ", ".join(differences)


def _content(path: str) -> Content | None:
    try:
        fd = os.open(path, READ)
    except FileNotFoundError:
        return None
    try:
        return read_open(fd)
    finally:
        let_go(fd)


def _manifest(spec: CertificateSpec, generation: GenerationId) -> Manifest | None:
    parts = (layout.TREE, layout.GENERATIONS, spec.name, generation, layout.MANIFEST)
    try:
        found = _content(posixpath.join(layout.home_of(spec), *parts))
    except (OSError, ValueError):
        return None
    return read_manifest(found.content.reveal(), spec, generation) if found else None


def _target(path: str) -> str | None:
    try:
        return os.readlink(path)  # noqa: PTH115  # the crash tests watch the os module
    except OSError:
        return None
