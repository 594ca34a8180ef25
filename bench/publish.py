"""Publishing four files beside plainly writing and flushing them.

Publishing also writes a manifest and a durable copy of what it replaces, so there are two peers:
one that writes the same bytes into the same directories, and one that writes the four files and
nothing else, each flushed and renamed over the old one. The second can leave a mixed pair.
"""

from __future__ import annotations

import os
import statistics
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from bench.measures import Measure, milliseconds
from certrotd.adapters.store import GenerationStore
from certrotd.core.model import Output, OutputKind
from certrotd.core.render import render
from tests.factories import NOW, lab, make_spec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from certrotd.core.model import Verified

TIMES = 100
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL


def measure(directory: Path) -> Iterator[Measure]:
    """Time all three in turn, so that what else the disk does meets them alike."""
    home, plain, same = (directory / name for name in ("pki", "plain", "same"))
    for each in (home, plain, same):
        each.mkdir(parents=True)
        each.chmod(0o755)
    store = GenerationStore(str(directory / "history"), keep=10)
    pairs = _pairs(home)
    ours, bare, equal = [], [], []
    for i in range(TIMES + 1):
        pair = pairs[i % len(pairs)]
        at = NOW + timedelta(minutes=i)
        files = _files(pair)
        ours.append(milliseconds(lambda: store.publish(pair, at)))  # noqa: B023  # called at once
        bare.append(milliseconds(lambda: _rename_each(plain, files)))  # noqa: B023  # as above
        sets = _sets(home, directory / "history", same / str(i))
        equal.append(milliseconds(lambda: _write_sets(sets)))  # noqa: B023  # as above
        store.retire(pair.spec, at)
    for name, peer, aim in (
        ("plain write + fsync, same bytes and directories", equal, 1.5),
        ("four files written, fsynced, renamed", bare, None),
    ):
        yield Measure(
            work="publish of 4 files",
            ours=statistics.median(ours[1:]),
            peer=statistics.median(peer[1:]),
            peer_name=name,
            unit="ms",
            aim=aim,
            note=f"99th percentile {_late(ours[1:]):.1f} against {_late(peer[1:]):.1f} ms",
        )


def _pairs(home: Path) -> list[Verified]:
    """Return a few pairs of certificate, key, CA and combined file."""
    spec = make_spec(home)
    both = Output(path=str(home / "both.pem"), kind=OutputKind.COMBINED, mode=0o600)
    spec = replace(spec, outputs=(*spec.outputs, both))
    return [lab().issue(spec) for _ in range(5)]


def _files(pair: Verified) -> dict[str, bytes]:
    return {output.path.rpartition("/")[2]: content.reveal() for output, content in render(pair)}


def _sets(home: Path, history: Path, target: Path) -> dict[Path, dict[str, bytes]]:
    """Return what the publication just wrote, for directories that do not exist yet."""
    live = home / ".certrotd" / "live" / "server"
    kept = sorted((history / "server").iterdir())[-1:] if history.exists() else []
    return {
        target.with_name(f"{target.name}-{i}"): {
            each.name: each.read_bytes() for each in source.iterdir()
        }
        for i, source in enumerate([live, *kept])
    }


def _rename_each(directory: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        temporary = directory / f"{name}.new"
        _write(temporary, content)
        temporary.rename(directory / name)
    _flush(directory)


def _write_sets(sets: dict[Path, dict[str, bytes]]) -> None:
    for directory, files in sets.items():
        directory.mkdir()
        for name, content in files.items():
            _write(directory / name, content)
        _flush(directory)
        _flush(directory.parent)


def _write(path: Path, content: bytes) -> None:
    fd = os.open(path, _CREATE, 0o600)
    os.write(fd, content)
    os.fsync(fd)
    os.close(fd)


def _flush(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def _late(durations: list[float]) -> float:
    return sorted(durations)[int(len(durations) * 0.99) - 1]
