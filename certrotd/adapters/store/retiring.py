"""Taking replaced generations away: a separate, later step, so that readers in flight finish.

Watchers of an inode (kube-apiserver, its controllers) wake only when the old file is unlinked.
"""

from __future__ import annotations

import posixpath
from contextlib import ExitStack
from typing import TYPE_CHECKING

from certrotd.adapters.store import layout, probe
from certrotd.adapters.store.directory import Directory
from certrotd.adapters.store.generations import read_manifest
from certrotd.core.errors import PublishRefused

if TYPE_CHECKING:
    from datetime import datetime

    from certrotd.core.model import CertificateSpec, GenerationId


def retire(spec: CertificateSpec, before: datetime) -> int:
    """Remove all generations but the live one, if that was published before `before`.

    Also removes what interrupted publications left behind. Returns how many generations went.

    Raises:
        PublishRefused: something could not be removed.
    """
    with ExitStack() as stack:
        home = _open(layout.home_of(spec), stack)
        root = _below(home, layout.TREE, stack)
        live = _below(root, layout.LIVE, stack)
        generations = _below(_below(root, layout.GENERATIONS, stack), spec.name, stack)
        if live is None or generations is None:
            return 0
        _sweep(spec, live, generations, stack)
        target = live.target(spec.name)
        current = layout.generation_in(spec.name, target) if target else None
        if current is None or not _old(spec, generations, current, before):
            return 0
        others = [
            each
            for each in map(layout.generation_of, generations.names())
            if each is not None and each != current
        ]
        return sum(generations.remove(each) for each in others)


def _old(
    spec: CertificateSpec, generations: Directory, current: GenerationId, before: datetime
) -> bool:
    """Whether the live generation replaced the others long enough ago."""
    directory = generations.below(current)
    if directory is None:
        return False
    with directory:
        found = directory.read(layout.MANIFEST)
    manifest = read_manifest(found.content.reveal(), spec, current) if found else None
    if manifest is None:
        return False
    return manifest.published_at is None or manifest.published_at <= before


def _sweep(
    spec: CertificateSpec, live: Directory, generations: Directory, stack: ExitStack
) -> None:
    for name in generations.names():
        if name.startswith(layout.STAGING):
            generations.remove(name)
    live.unlink(layout.temporary(spec.name))
    names: dict[str, list[str]] = {}
    for output in spec.outputs:
        path, name = posixpath.split(output.path)
        names.setdefault(path, []).append(name)
    for path, ours in names.items():
        if directory := _open(path, stack):
            probe.clear(directory)
            for name in ours:
                directory.unlink(layout.temporary(name))


def _open(path: str, stack: ExitStack) -> Directory | None:
    try:
        return stack.enter_context(Directory.open(path))
    except PublishRefused as e:
        if isinstance(e.__cause__, FileNotFoundError):
            return None
        raise


def _below(parent: Directory | None, name: str, stack: ExitStack) -> Directory | None:
    found = parent.below(name) if parent else None
    return stack.enter_context(found) if found else None
