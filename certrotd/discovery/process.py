"""A process of the control plane as it is started, whoever starts it."""

from __future__ import annotations

import posixpath
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from certrotd.core.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from certrotd.discovery.commandline import Flags
    from certrotd.presets import Program

EVERYWHERE = ("", "0.0.0.0", "::", "[::]")  # noqa: S104  # read, not bound to
"""How a program is told to listen on all addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A path of the host and where a container sees it."""

    host: str
    container: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticPod:
    """A static pod of this node's kubelet."""

    namespace: str
    name: str
    manifest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A known program, how it is started and by whom.

    `name` is the component's, `source` the file that starts it. `keeper` is a static pod or the
    name of a systemd unit. `mounts` is None where the process sees the host's files. `version` is
    empty where it is not known.
    """

    name: str
    program: Program
    source: str
    flags: Flags
    keeper: StaticPod | str
    mounts: tuple[Mount, ...] | None = None
    version: str = ""
    notes: tuple[str, ...] = ()

    def on_host(self, path: str) -> str | None:
        """Return where a path of the process lies on the host; None if only the process has it."""
        if self.mounts is None:
            return path
        mount = self._mount(path)
        if mount is None:
            return None
        rest = posixpath.relpath(path, mount.container)
        return posixpath.normpath(posixpath.join(mount.host, rest))

    def host_pinned(self, path: str) -> bool:
        """Whether a file of the host is mounted by itself.

        A bind mount keeps the inode: what is renamed over the file is seen by the next container.
        """
        return any(each.host == path for each in self.mounts or ())

    def _mount(self, path: str) -> Mount | None:
        covering = [
            each
            for each in self.mounts or ()
            if f"{posixpath.normpath(path)}/".startswith(f"{each.container.rstrip('/')}/")
        ]
        return max(covering, key=lambda each: len(each.container), default=None)


def twice(found: Iterable[Process], advice: str) -> list[Problem]:
    """Return a fault for each program that runs once on a node and was found again.

    Several etcd are several only by their names.
    """
    problems = []
    seen: dict[str, Process] = {}
    for each in found:
        single = each.name if each.program.name == "etcd" else each.program.name
        first = seen.setdefault(single, each)
        if first is not each:
            told = f"runs {single}, and so does {first.source}: {advice}"
            problems.append(Problem(file=each.source, line=0, key="", message=told))
    return problems


def named(found: list[Process]) -> tuple[Process, ...]:
    """Name each component after its program, or as it is called where two run the same.

    An etcd for events keeps its name even where it is the only one on a host.
    """
    often = Counter(each.program.name for each in found)

    def keeps(each: Process) -> bool:
        is_events = each.program.name == "etcd" and "events" in each.name
        return often[each.program.name] > 1 or is_events

    return tuple(each if keeps(each) else replace(each, name=each.program.name) for each in found)
