"""Which files are the configuration, and their text; distrusts both."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from certrotd.core.errors import Problem

if TYPE_CHECKING:
    from pathlib import Path

LARGEST = 4 * 1024 * 1024
"""Bytes; a thousand certificates need a tenth of it."""


class Unusable(Exception):
    """A file that cannot be used at all."""


def config_files(path: Path) -> tuple[tuple[Path, ...], list[Problem]]:
    """Return the file and the `conf.d/*.yaml` beside it, in the order in which they are read."""
    folder = path.parent / "conf.d"
    try:
        open_to_all = folder.stat().st_mode & stat.S_IWOTH
        names = sorted(each.name for each in folder.iterdir() if not each.name.startswith("."))
    except FileNotFoundError:
        return (path,), []
    except OSError as e:
        return (path,), [_problem(folder, f"cannot be read: {e.strerror}")]
    problems = []
    if open_to_all:
        problems.append(_problem(folder, _OPEN_TO_ALL))
    problems += [
        _problem(folder / each, "is not read: only *.yaml is; rename it")
        for each in names
        if each.endswith(".yml")
    ]
    return (path, *(folder / each for each in names if each.endswith(".yaml"))), problems


def text_of(file: Path) -> str:
    """Read a file.

    Raises:
        Unusable: it cannot be read, is not a plain file, too large, not UTF-8, or everybody may
            write it.
    """
    try:
        with open(file, "rb", opener=_without_waiting) as stream:
            if why := _objection(os.fstat(stream.fileno()).st_mode):
                raise Unusable(why)
            content = stream.read(LARGEST + 1)
    except IsADirectoryError:
        raise Unusable("is a directory; it must be a YAML file") from None
    except OSError as e:
        raise Unusable(f"cannot be read: {e.strerror}") from None
    if len(content) > LARGEST:
        raise Unusable(f"is larger than {LARGEST // 1024 // 1024} MiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = content.count(b"\n", 0, e.start) + 1
        raise Unusable(f"is not UTF-8 text: see line {line}") from None


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a named pipe would wait for its writer


def _objection(mode: int) -> str:
    if not stat.S_ISREG(mode):
        return "is not a plain file; it must be a YAML file"
    return _OPEN_TO_ALL if mode & stat.S_IWOTH else ""


_OPEN_TO_ALL = (
    "everybody may write it, and it names programs that are run: take that away with chmod o-w"
)


def _problem(file: Path, message: str) -> Problem:
    return Problem(file=str(file), line=0, key="", message=message)
