"""Files that survive a power cut, and what to say when the disk says no.

What was flushed is there after a reboot; what was only renamed may not be. So a name is given
only to what was flushed, and the directory that holds the name is flushed after it.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from certrotd.core.errors import PublishRefused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_HINTS = {
    errno.ENOSPC: "free space or inodes on its file system",
    errno.EDQUOT: "free space or raise the quota of the user certrotd runs as",
    errno.EROFS: "make the file system writable, or name the directory in the unit's "
    "ReadWritePaths=",
    errno.EACCES: "run certrotd as a user that may write there",
    errno.EPERM: "run certrotd as root or give it the capability it lacks (CAP_CHOWN for owners)",
    errno.EMFILE: "raise the limit of open files (LimitNOFILE= of the unit)",
    errno.ENFILE: "the whole machine is out of open files (fs.file-max)",
    errno.EIO: "the disk reports errors: read the kernel's log before anything else",
    errno.ENOENT: "create the directory first",
    errno.ENOTDIR: "it must be a directory, not a file and not a link",
    errno.ELOOP: "it must be what it says, not a link to something else",
    errno.EXDEV: "both names must lie on one mount (each ReadWritePaths= is a mount of its own)",
    errno.ENAMETOOLONG: "choose a shorter name",
}
"""What a person can do about it, by errno."""


def refusal(error: OSError, path: str) -> PublishRefused:
    """Say what the operating system said about `path`, and what to do."""
    code = error.errno or 0
    text = error.strerror or str(error)
    return PublishRefused(f"{path}: {text}", path=path, hint=_HINTS.get(code, ""))


@contextmanager
def located(path: str) -> Iterator[None]:
    """Turn what the operating system says within into a PublishRefused that names `path`."""
    try:
        yield
    except OSError as e:
        raise refusal(e, path) from e


def let_go(fd: int) -> None:
    """Close a descriptor that was only read from: whatever close(2) says, nothing is lost."""
    with suppress(OSError):
        os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    """Write all of it; a single write may take less.

    Raises:
        OSError: what write(2) says.
    """
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def flush(descriptors: Iterable[int]) -> None:
    """Flush files to the disk together.

    Writeback of all is started before the first is waited for: the file system then allocates
    them in one transaction, and of n flushes n - 1 find nothing left to do. Each is still asked
    for its own errors.

    Raises:
        OSError: what fsync(2) says; never ask again, the pages may be marked clean by now.
    """
    files = tuple(descriptors)
    for fd in files:
        # Advice may be refused (ESPIPE, EINVAL); the flush below is what counts.
        with suppress(OSError):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    for fd in files:
        os.fsync(fd)


def flush_directory(path: str) -> None:
    """Flush the names in a directory to the disk.

    Raises:
        OSError: what open(2) or fsync(2) says.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        let_go(fd)


def make_private_directory(path: str) -> None:
    """Make a directory only this user can enter, and its parents, durably; may exist already.

    Raises:
        PublishRefused: it cannot be made, or others may write to it.
    """
    try:
        with located(path):
            status = os.stat(path)  # noqa: PTH116  # the crash tests watch the os module
    except PublishRefused as e:
        if not isinstance(e.__cause__, FileNotFoundError):
            raise
    else:
        _accept(path, status)
        return
    parent = posixpath.dirname(path)
    if not os.path.exists(parent):  # noqa: PTH110  # as above
        make_private_directory(parent)
    with located(path):
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)  # noqa: PTH102  # as above
        flush_directory(parent)


def _accept(path: str, status: os.stat_result) -> None:
    if not stat.S_ISDIR(status.st_mode):
        raise PublishRefused(
            f"{path}: is not a directory", path=path, hint="move it out of the way"
        )
    if status.st_mode & stat.S_IWOTH:
        raise PublishRefused(
            f"{path}: everybody can write to it", path=path, hint=f"chmod 0700 {path}"
        )


def replace_file(path: str, content: bytes) -> None:
    """Put a file of mode 0600 in place of `path` by one rename, durably.

    Raises:
        PublishRefused: it cannot be written; what was there before is still there.
    """
    make_private_directory(posixpath.dirname(path))
    temporary = f"{path}.new"
    with located(path):
        with suppress(FileNotFoundError):
            os.unlink(temporary)  # noqa: PTH108  # the crash tests watch the os module
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(temporary, flags, 0o600)
        try:
            write_all(fd, content)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)  # noqa: PTH104  # as above
        flush_directory(posixpath.dirname(path))
