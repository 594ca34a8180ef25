"""Copies of replaced generations, kept where no component looks. Never hard links.

A hard link would keep the inode alive, and watchers of the old file would never wake.
"""

from __future__ import annotations

import posixpath
from contextlib import contextmanager
from typing import TYPE_CHECKING

from certrotd.adapters.store import layout, probe
from certrotd.adapters.store.directory import Directory
from certrotd.adapters.store.generations import Draft, read_generation, read_manifest
from certrotd.core.errors import PublishRefused
from certrotd.durable import make_private_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from certrotd.adapters.store.generations import Generation
    from certrotd.adapters.store.manifest import Manifest
    from certrotd.core.model import CertificateSpec, GenerationId


class History:
    """The copies below one directory: `<certificate>/<generation>/`, 0700 and 0600."""

    def __init__(self, path: str) -> None:
        self.path = path

    def generations(self, spec: CertificateSpec) -> tuple[GenerationId, ...]:
        """Return what is kept, oldest first.

        Raises:
            PublishRefused: the directory is there and cannot be read.
        """
        directory = self._open(spec)
        if directory is None:
            return ()
        with directory:
            return _kept(directory)

    def restorable(self, spec: CertificateSpec) -> tuple[GenerationId, ...]:
        """Return what is kept and holds a pair that works, oldest first."""
        directory = self._open(spec)
        if directory is None:
            return ()
        with directory:
            return tuple(each for each in _kept(directory) if _holds_a_pair(directory, spec, each))

    def read(self, spec: CertificateSpec, generation: GenerationId) -> Generation:
        """Read a copy and check that it is as it was made.

        Raises:
            PublishRefused: it is gone or damaged.
        """
        path = posixpath.join(self.path, spec.name, generation)
        directory = self._open(spec)
        found = None
        if directory is not None and layout.generation_of(generation):
            with directory:
                found = read_generation(directory, spec, generation)
        if found is None:
            raise PublishRefused(
                f"{path}: this generation is not kept any more",
                path=path,
                hint="`certrotd history` lists what there is; limits.history is how many are kept",
            )
        if not found.intact:
            raise PublishRefused(
                f"{path}: the copy is damaged", path=path, hint="choose another generation"
            )
        return found

    @contextmanager
    def draft(self, spec: CertificateSpec, facts: Manifest) -> Iterator[Draft]:
        """Begin a copy; what an interrupted one left behind is removed."""
        make_private_directory(self.path)
        with Directory.open(self.path) as root, root.make(spec.name, 0o700) as directory:
            directory.remove(layout.STAGING + facts.generation)
            with Draft(directory, facts, private=True) as draft:
                yield draft

    def prune(self, spec: CertificateSpec, keep: int) -> None:
        """Remove the oldest copies beyond `keep`, and what interrupted ones left behind."""
        root = self._root()
        if root is None:
            return
        with root:
            probe.clear(root)
            directory = root.below(spec.name)
        if directory is None:
            return
        with directory:
            for generation in _kept(directory)[:-keep]:
                directory.remove(generation)
            for name in directory.names():
                if name.startswith(layout.STAGING):
                    directory.remove(name)

    def _open(self, spec: CertificateSpec) -> Directory | None:
        root = self._root()
        if root is None:
            return None
        with root:
            return root.below(spec.name)

    def _root(self) -> Directory | None:
        try:
            return Directory.open(self.path)
        except PublishRefused as e:
            if isinstance(e.__cause__, FileNotFoundError):
                return None
            raise


def _kept(directory: Directory) -> tuple[GenerationId, ...]:
    found = (layout.generation_of(name) for name in directory.names())
    return tuple(sorted(each for each in found if each is not None))


def _holds_a_pair(directory: Directory, spec: CertificateSpec, generation: GenerationId) -> bool:
    below = directory.below(generation)
    if below is None:
        return False
    with below:
        found = below.read(layout.MANIFEST)
    facts = read_manifest(found.content.reveal(), spec, generation) if found else None
    return facts is not None and facts.fingerprint is not None
