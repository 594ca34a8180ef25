"""Short words for what the tests of the store say often."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from certrotd.core import render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from certrotd.adapters.store import GenerationStore
    from certrotd.core.model import CertificateSpec, Verified

MINUTE = timedelta(minutes=1)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def drift(store: GenerationStore, spec: CertificateSpec) -> dict[str, str]:
    return {Path(f.output.path).name: f.drift for f in store.read(spec).files if f.drift}


def bytes_of(verified: Verified) -> dict[str, bytes]:
    return {output.path: content.reveal() for output, content in render.render(verified)}


def on_disk(spec: CertificateSpec) -> dict[str, bytes]:
    return {each.path: Path(each.path).read_bytes() for each in spec.outputs}


def write_plain(verified: Verified) -> None:
    for path, content in bytes_of(verified).items():
        Path(path).write_bytes(content)
