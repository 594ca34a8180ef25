"""What people do to the files of a node."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from certrotd.core.model import Output

GARBAGE = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


def make_plain(output: Output) -> None:
    """Put a plain file with the same content in a path's place, with its mode and group."""
    path = Path(output.path)
    content = path.read_bytes()
    path.unlink()
    path.touch(0o600)
    path.write_bytes(content)
    if output.gid is not None:
        os.chown(path, -1, output.gid)
    path.chmod(output.mode)


def edit(output: Output, how: str) -> None:
    """`delete` a path, write `garbage` through it, or make it a `plain` file."""
    if how == "garbage":
        Path(output.path).write_bytes(GARBAGE)
    elif how == "plain":
        make_plain(output)
    else:
        Path(output.path).unlink()
