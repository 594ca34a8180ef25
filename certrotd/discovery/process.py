"""A process of the control plane as it is started, whoever starts it."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
