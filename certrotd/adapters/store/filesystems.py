"""What a directory's file system is, and how much room it has."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from certrotd.core.errors import PublishRefused
from certrotd.durable import located

if TYPE_CHECKING:
    from certrotd.adapters.store.directory import Directory

_REMOTE = frozenset(
    {
        "9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "glusterfs", "lustre", "ncpfs",
        "nfs", "nfs4", "orangefs", "smb3", "smbfs",
    }
)  # fmt: skip
"""Where a rename may be reported wrongly and readers see old links for seconds."""


class FileSystems:
    """The mounts as this process sees them, read once."""

    def __init__(self) -> None:
        self._types = _types()

    def problems(
        self, directory: Directory, files: int, reserve: int, file_size: int
    ) -> list[PublishRefused]:
        """Say what is wrong with the file system for this many files, `reserve` times over."""
        kind = self._kind(directory)
        if kind in _REMOTE or kind.startswith("fuse."):
            return [
                PublishRefused(
                    f"{directory.path}: lies on a {kind} file system, where one rename is neither "
                    "atomic for readers nor durable",
                    path=directory.path,
                    hint="choose a directory on a local disk",
                )
            ]
        return _room(directory, (files + 2) * reserve, file_size)

    def _kind(self, directory: Directory) -> str:
        """Return the type's name, empty where /proc does not tell."""
        try:
            with open(f"/proc/self/fdinfo/{directory.fd}") as file:  # noqa: PTH123
                found = re.search(r"^mnt_id:\s*(\d+)$", file.read(), re.MULTILINE)
        except OSError:
            return ""
        return self._types.get(found[1], "") if found else ""


def _types() -> dict[str, str]:
    """Return the type of each mount by its id (proc(5), /proc/pid/mountinfo)."""
    types = {}
    try:
        with open("/proc/self/mountinfo") as file:  # noqa: PTH123
            for line in file:
                before, _, after = line.partition(" - ")
                types[before.split()[0]] = after.split()[0]
    except OSError:
        return {}
    return types


def _room(directory: Directory, files: int, file_size: int) -> list[PublishRefused]:
    path = directory.path
    with located(path):
        room = os.fstatvfs(directory.fd)
    if room.f_flag & os.ST_RDONLY:
        hint = "make the file system writable, or name the directory in the unit's ReadWritePaths="
        return [PublishRefused(f"{path}: is read-only", path=path, hint=hint)]
    # The blocks that file systems reserve for root are ours if we are root.
    blocks = room.f_bfree if os.geteuid() == 0 else room.f_bavail
    problems = []
    if blocks * room.f_frsize < files * file_size:
        text = f"{blocks * room.f_frsize // 1024} KiB free, {files * file_size // 1024} KiB wanted"
        hint = "free space on its file system"
        problems.append(PublishRefused(f"{path}: too little space: {text}", path=path, hint=hint))
    # A file system without a fixed number of inodes says 0.
    if room.f_files and room.f_ffree < files:
        text = f"{room.f_ffree} inodes free, {files} wanted"
        hint = "remove files from its file system"
        problems.append(PublishRefused(f"{path}: too many files: {text}", path=path, hint=hint))
    return problems
