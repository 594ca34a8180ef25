"""Reading what flags name; a fault names the file, the line and the flag."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from certrotd.core.errors import Problem
from certrotd.discovery.inventory import File

if TYPE_CHECKING:
    from certrotd.discovery.commandline import Word
    from certrotd.discovery.process import Process
    from certrotd.ports import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A file that a flag of a process names; `path` is where the host has it."""

    process: Process
    flag: str
    word: Word
    path: str


@dataclass(slots=True)
class Reader:
    """Reads through the node and keeps every fault, so that all are told at once."""

    node: Node
    problems: list[Problem] = field(default_factory=list)

    def named(self, process: Process, flag: str, word: Word) -> Named | None:
        """Find where the host has a file; None, with a fault or nothing to be found."""
        if not word.text.startswith("/"):
            self.fault(process, flag, word, "is not an absolute path; certrotd needs one")
            return None
        path = process.on_host(word.text)
        if path is None:
            told = f"names {word.text}, which the container does not mount from the host"
            self.fault(process, flag, word, told)
            return None
        return Named(process=process, flag=flag, word=word, path=posixpath.normpath(path))

    def fault(self, process: Process, flag: str, word: Word, message: str) -> None:
        """Note what is wrong with what a flag says."""
        self.problems.append(
            Problem(file=process.source, line=word.line, key=flag, message=message)
        )

    def content(self, named: Named) -> bytes | None:
        """Return the content of a named file; None after noting why there is none."""
        try:
            return self.node.read(named.path)
        except FileNotFoundError:
            told = f"names {named.path}, which does not exist"
        except OSError as e:
            told = f"names {named.path}, which cannot be read: {e.strerror}"
        self.fault(named.process, named.flag, named.word, told)
        return None

    def unusable(self, named: Named, why: str) -> None:
        """Note that a file was read but not understood."""
        self.fault(named.process, named.flag, named.word, f"names {named.path}: {why}")

    def file(self, kind: str, named: Named) -> File | None:
        """Return a named file with its mode and owner; None after noting why not."""
        try:
            return File(kind=kind, path=named.path, facts=self.node.facts(named.path))
        except OSError as e:
            self.unusable(named, f"cannot be looked at: {e.strerror}")
            return None

    def optional(self, path: str) -> bytes | None:
        """Return the content of a file that need not be there.

        A file that is there and cannot be read is a fault.
        """
        try:
            return self.node.read(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as e:
            self.problems.append(
                Problem(file=path, line=0, key="", message=f"cannot be read: {e.strerror}")
            )
            return None
