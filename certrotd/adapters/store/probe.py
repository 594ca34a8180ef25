"""A trial of every call that publishing makes in a directory, on names nobody reads."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from certrotd.adapters.store import layout
from certrotd.core.errors import PublishRefused
from certrotd.durable import located, write_all

if TYPE_CHECKING:
    from certrotd.adapters.store.directory import Directory

_FILE = layout.temporary("probe")
_LINK = layout.temporary("probe link")


def probe(directory: Directory) -> None:
    """Create and flush a file, replace it by a link, remove that.

    Raises:
        PublishRefused: one of it does not work.
    """
    clear(directory)
    try:
        fd = directory.create(_FILE)
        with located(directory.path):
            try:
                write_all(fd, b"probe\n")
                os.fsync(fd)
            finally:
                os.close(fd)
        directory.link(_LINK, "nowhere")
        directory.rename(_LINK, _FILE)
    except PublishRefused as e:
        with suppress(PublishRefused):
            clear(directory)
        raise PublishRefused(
            f"{directory.path}: cannot be written: {e.__cause__ or e}",
            path=directory.path,
            hint=e.hint,
        ) from e.__cause__
    directory.unlink(_FILE)


def clear(directory: Directory) -> None:
    """Remove what an interrupted trial left behind.

    Raises:
        PublishRefused: it could not be removed.
    """
    for name in (_FILE, _LINK):
        directory.unlink(name)
