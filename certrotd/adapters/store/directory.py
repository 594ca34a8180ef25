"""One open directory: all work below it goes by its descriptor, so no path can be swapped."""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from certrotd.core.errors import PublishRefused
from certrotd.core.model import Secret
from certrotd.durable import let_go, located, refusal

if TYPE_CHECKING:
    from types import TracebackType

LIMIT = 1 << 20
"""Largest file, in bytes, that is taken for a certificate, key or kubeconfig."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, opening a FIFO would wait for its writer.
READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
LABEL = "security.selinux"


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A file as it was read: bytes, permission bits, owner and SELinux label."""

    content: Secret
    mode: int
    uid: int
    gid: int
    label: bytes | None = None


class Directory:
    """A directory held open; `path` is for messages. Every method raises PublishRefused."""

    def __init__(self, fd: int, path: str) -> None:
        self.fd = fd
        self.path = path

    @classmethod
    def open(cls, path: str) -> Self:
        """Open a directory; its last component must not be a link."""
        with located(path):
            return cls(os.open(path, _DIRECTORY), path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        let_go(self.fd)

    def join(self, name: str) -> str:
        """Return the path of an entry, for messages."""
        return posixpath.join(self.path, name)

    def status(self) -> os.stat_result:
        """Return the directory's own status."""
        with located(self.path):
            return os.fstat(self.fd)

    def below(self, name: str) -> Directory | None:
        """Open a directory in it; None if there is none."""
        path = self.join(name)
        try:
            return Directory(os.open(name, _DIRECTORY, dir_fd=self.fd), path)
        except FileNotFoundError:
            return None
        except OSError as e:
            raise refusal(e, path) from e

    def make(self, name: str, mode: int = 0o755) -> Directory:
        """Open a directory in it with exactly this mode; make it durably if there is none."""
        path = self.join(name)
        found = self.below(name)
        with located(path):
            if found is None:
                # Another certrotd with another configuration may be as quick.
                with suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=self.fd)
                found = Directory(os.open(name, _DIRECTORY, dir_fd=self.fd), path)
                os.fsync(self.fd)
            # The umask had its say, or a crash came between.
            if stat.S_IMODE(os.fstat(found.fd).st_mode) != mode:
                os.fchmod(found.fd, mode)
                os.fsync(found.fd)
        return found

    def stage(self, name: str) -> Directory:
        """Make a directory that nobody else can enter; it must not exist."""
        path = self.join(name)
        with located(path):
            os.mkdir(name, 0o700, dir_fd=self.fd)
            return Directory(os.open(name, _DIRECTORY, dir_fd=self.fd), path)

    def sync(self) -> None:
        """Flush its names to the disk."""
        with located(self.path):
            os.fsync(self.fd)

    def create(self, name: str) -> int:
        """Create a file for writing that only its owner can read; it must not exist."""
        with located(self.join(name)):
            return os.open(name, _CREATE, 0o600, dir_fd=self.fd)

    def read(self, name: str) -> Content | None:
        """Read a file through whatever links lead to it; None if there is nothing.

        Raises:
            PublishRefused: it is there and cannot be read, or it is no regular file.
        """
        path = self.join(name)
        try:
            fd = os.open(name, READ, dir_fd=self.fd)
        except FileNotFoundError:
            return None
        except OSError as e:
            raise refusal(e, path) from e
        try:
            return read_open(fd)
        except OSError as e:
            raise refusal(e, path) from e
        except ValueError as e:
            raise PublishRefused(f"{path}: {e}", path=path, hint="move it out of the way") from e
        finally:
            let_go(fd)

    def link(self, name: str, target: str) -> None:
        """Make a symbolic link; a leftover of that name is replaced."""
        with located(self.join(name)):
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self.fd)
            os.symlink(target, name, dir_fd=self.fd)

    def target(self, name: str) -> str | None:
        """Return what a link says; None if `name` is not a link."""
        try:
            return os.readlink(name, dir_fd=self.fd)
        except FileNotFoundError:
            return None
        except OSError as e:
            if e.errno == errno.EINVAL:
                return None
            raise refusal(e, self.join(name)) from e

    def rename(self, old: str, new: str) -> None:
        """Give an entry a new name, replacing what has it."""
        with located(self.join(new)):
            os.rename(old, new, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def names(self) -> list[str]:
        """Return the names in it."""
        with located(self.path):
            return os.listdir(self.fd)  # noqa: PTH208  # a descriptor has no pathlib

    def unlink(self, name: str) -> None:
        """Remove a file or link if it is there."""
        with located(self.join(name)), suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.fd)

    def remove(self, name: str) -> bool:
        """Remove a directory of files; False if there is none."""
        below = self.below(name)
        if below is None:
            return False
        with below:
            for each in below.names():
                below.unlink(each)
        with located(self.join(name)):
            os.rmdir(name, dir_fd=self.fd)
        return True


def read_open(fd: int) -> Content:
    """Read an open file.

    Raises:
        OSError: what read(2) says.
        ValueError: it is no regular file, or too large to be what we look for.
    """
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise ValueError(f"is {kind}")
    if status.st_size > LIMIT:
        raise ValueError(f"is larger than {LIMIT // 1024} KiB")
    parts = []
    while part := os.read(fd, LIMIT):
        parts.append(part)
    return Content(
        content=Secret(b"".join(parts)),
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        label=_label(fd),
    )


def _label(fd: int) -> bytes | None:
    """Return the SELinux label; None where there is none or the file system knows none."""
    try:
        return os.getxattr(fd, LABEL)
    except OSError:
        return None
