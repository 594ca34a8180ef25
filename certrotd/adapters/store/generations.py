"""Generations: read as they lie, written whole into a directory nobody else can enter."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from certrotd.adapters.store import layout, manifest
from certrotd.adapters.store.directory import LABEL
from certrotd.adapters.store.manifest import FileRecord, Manifest
from certrotd.core import render, x509
from certrotd.core.errors import PublishRefused
from certrotd.core.model import OutputKind, StoredFile
from certrotd.durable import let_go, located, write_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from certrotd.adapters.store.directory import Directory
    from certrotd.core.model import (
        CertificateSpec,
        GenerationId,
        ParsedCertificate,
        Secret,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One file of a generation: the path it is read through, its name there, how it must be.

    `uid` and `gid` None leave the owner to the process.
    """

    path: str
    name: str
    content: Secret
    mode: int
    uid: int | None
    gid: int | None
    label: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """A generation as it lies on disk; `manifest` is None if it has none that we understand."""

    id: GenerationId
    manifest: Manifest | None
    pieces: Mapping[str, Piece]

    @property
    def complete(self) -> bool:
        """Whether every file that was published is still there."""
        recorded = self.manifest.files if self.manifest else ()
        return bool(self.pieces) and all(each.path in self.pieces for each in recorded)

    @property
    def intact(self) -> bool:
        """Whether every file is there with the bytes that were published."""
        return self.manifest is not None and all(
            each.path in self.pieces and digest(self.pieces[each.path].content) == each.sha256
            for each in self.manifest.files
        )


def digest(content: Secret) -> str:
    """Return SHA-256 as hex."""
    return hashlib.sha256(content.reveal()).hexdigest()


def read_manifest(
    content: bytes, spec: CertificateSpec, generation: GenerationId
) -> Manifest | None:
    """Read the manifest of this generation of this certificate; None for any other."""
    found = manifest.decode(content)
    if found is None or (found.generation, found.certificate) != (generation, spec.name):
        return None
    return found


def read_generation(
    parent: Directory, spec: CertificateSpec, generation: GenerationId
) -> Generation | None:
    """Read a whole generation; None if it is gone.

    Raises:
        PublishRefused: a file in it cannot be read.
    """
    directory = parent.below(generation)
    if directory is None:
        return None
    with directory:
        found = directory.read(layout.MANIFEST)
        facts = read_manifest(found.content.reveal(), spec, generation) if found else None
        records = {each.path: each for each in facts.files} if facts else {}
        names = {o.path: layout.entry_of(spec, o.path) for o in spec.outputs}
        names |= {path: each.name for path, each in records.items()}
        pieces = {}
        for path, name in names.items():
            file = directory.read(name)
            if file is None:
                continue
            as_published = records.get(path) or file
            pieces[path] = Piece(
                path=path,
                name=name,
                content=file.content,
                mode=as_published.mode,
                uid=as_published.uid,
                gid=as_published.gid,
                label=file.label,
            )
    return Generation(id=generation, manifest=facts, pieces=pieces)


def leaf_of(spec: CertificateSpec, pieces: Mapping[str, Piece]) -> ParsedCertificate | None:
    """Return the leaf of a pair that works; None if it or its key is not there, or does not fit.

    A CA beside it that cannot be read makes it a pair that does not work, too.
    """
    files = tuple(
        StoredFile(output=each, content=pieces[each.path].content)
        for each in spec.outputs
        if each.path in pieces
    )
    try:
        held = render.identity(files)
        leaf = x509.parse_certificate(held.chain[0])
        if held.private_key is None and any(each.secret for each in spec.outputs):
            return None
        if held.private_key and x509.public_key_of(held.private_key) != leaf.public_key:
            return None
        for each in files:
            if each.output.kind is OutputKind.CA and each.content is not None:
                for authority in x509.split_pem(each.content.reveal()):
                    x509.parse_certificate(authority)
    except ValueError:
        return None
    return leaf


class Draft:
    """A generation in the making. Leaving the `with` block without `keep` removes it."""

    def __init__(self, parent: Directory, facts: Manifest, *, private: bool = False) -> None:
        """Say what it will be; `private` copies are for this user alone, whatever they were."""
        self._parent = parent
        self._facts = facts
        self._private = private
        self._name = layout.STAGING + facts.generation
        self._pieces: list[tuple[Piece, FileRecord]] = []
        self.files: list[int] = []
        self.manifest = facts

    def __enter__(self) -> Self:
        self._directory = self._parent.stage(self._name)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for fd in self.files:
            let_go(fd)
        self._directory.__exit__(kind, value, traceback)
        if self._name:
            with suppress(PublishRefused):
                self._parent.remove(self._name)

    def write(self, pieces: Iterable[Piece]) -> None:
        """Write all files, the manifest last. Not flushed yet: `files` are."""
        for piece in pieces:
            record = self._write(piece)
            self._pieces.append((piece, record))
        records = tuple(record for _, record in self._pieces)
        self.manifest = replace(self._facts, files=records)
        fd = self._directory.create(layout.MANIFEST)
        self.files.append(fd)
        with located(self._directory.join(layout.MANIFEST)):
            write_all(fd, manifest.encode(self.manifest))
            os.fchmod(fd, 0o600 if self._private else 0o644)

    def _write(self, piece: Piece) -> FileRecord:
        fd = self._directory.create(piece.name)
        self.files.append(fd)
        with located(self._directory.join(piece.name)):
            write_all(fd, piece.content.reveal())
            if not self._private:
                _finish(fd, piece)
            status = os.fstat(fd)
        return FileRecord(
            path=piece.path,
            name=piece.name,
            sha256=digest(piece.content),
            mode=piece.mode,
            uid=status.st_uid if piece.uid is None else piece.uid,
            gid=status.st_gid if piece.gid is None else piece.gid,
        )

    def complete(self) -> None:
        """Check what was written and give the generation its name; call after flushing `files`.

        Its parent is not flushed yet.
        """
        while self.files:
            with located(self._directory.path):
                os.close(self.files.pop())
        if not self._private:
            with located(self._directory.path):
                os.fchmod(self._directory.fd, 0o755)
        self._directory.sync()
        for piece, record in self._pieces:
            self._read_back(piece, record)
        self._parent.rename(self._name, self._facts.generation)
        self._name = self._facts.generation

    def keep(self) -> None:
        """Leave it where it is."""
        self._name = ""

    def _read_back(self, piece: Piece, record: FileRecord) -> None:
        found = self._directory.read(piece.name)
        path = self._directory.join(piece.name)
        if found is None or found.content != piece.content:
            raise PublishRefused(
                f"{path}: does not hold what was written to it",
                path=path,
                hint="the disk or somebody else changed it: read the kernel's log",
            )
        owned = (found.mode, found.uid, found.gid) == (record.mode, record.uid, record.gid)
        if not self._private and not owned:
            raise PublishRefused(
                f"{path}: has mode {found.mode:04o} and owner {found.uid}:{found.gid} instead of "
                f"{record.mode:04o} and {record.uid}:{record.gid}",
                path=path,
                hint="the file system does not keep modes and owners: choose another",
            )


def _finish(fd: int, piece: Piece) -> None:
    """Give a file its mode, owner and label.

    The mode first: afterwards it may be somebody else's file, which takes CAP_FOWNER to change.
    """
    status = os.fstat(fd)
    os.fchmod(fd, piece.mode)
    uid = status.st_uid if piece.uid is None else piece.uid
    gid = status.st_gid if piece.gid is None else piece.gid
    if (uid, gid) != (status.st_uid, status.st_gid):
        os.fchown(fd, uid, gid)
    if piece.label is not None:
        try:
            current: bytes | None = os.getxattr(fd, LABEL)
        except OSError:
            current = None
        if current != piece.label:
            os.setxattr(fd, LABEL, piece.label)
