"""The kubelet's own store of certificates, in its format, without its gap.

    kubelet-client-2026-11-26-22-34-00.pem     leaf, intermediates, key; mode 0600
    kubelet-client-current.pem -> …            the pair in use, an absolute link
    kubelet-client-updated.pem -> …            half a switch; the kubelet ends it when it starts

The kubelet removes `current` before it renames `updated` to it. Here the one rename does both, so
that there is a whole pair at every moment. Its file names are in the node's time zone, ours in UTC:
only their order among themselves counts, and not even that to the kubelet.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from certrotd.core import render, x509
from certrotd.core.errors import PublishRefused, PublishUncertain
from certrotd.core.kubelets import Held, current_name, file_name, is_pair
from certrotd.core.model import Kubeconfig, Output, OutputKind, Secret, StoredFile
from certrotd.core.model.kubelets import Purpose
from certrotd.durable import (
    flush_directory,
    let_go,
    located,
    make_private_directory,
    replace_file,
    write_all,
)

if TYPE_CHECKING:
    from datetime import datetime

LARGEST = 1 << 20
"""Bytes; no file here is larger."""
KEPT = 3
"""How many pairs stay besides the one in use."""
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LEGACY = {Purpose.CLIENT: "kubelet-client", Purpose.SERVING: "kubelet-server"}
_TRIES = 10


class KubeletStore:
    """Implements `ports.kubelets.OwnStore` for one kubelet."""

    def __init__(self, directory: str, kubeconfig: str) -> None:
        """`directory` is the kubelet's certificate directory, `/var/lib/kubelet/pki` as a rule."""
        self._directory = directory
        self._kubeconfig = kubeconfig

    def current(self, purpose: Purpose) -> str:
        """Return the path of the link to the pair in use."""
        return posixpath.join(self._directory, current_name(purpose))

    def read(self, purpose: Purpose) -> Held:
        """Return what the kubelet would find if it started now, in the order in which it looks."""
        current, base = self.current(purpose), posixpath.join(self._directory, _LEGACY[purpose])
        for path in (current, self._updated(purpose)):
            if _exists(path):
                return _held(current, (path, path))
        if purpose is Purpose.CLIENT and (held := self._in_kubeconfig()):
            return held
        if _exists(f"{base}.crt") and _exists(f"{base}.key"):
            return _held(f"{base}.crt", (f"{base}.crt", f"{base}.key"))
        # A link that leads nowhere is as good as none to the kubelet.
        return Held(path=current)

    def write(
        self, purpose: Purpose, chain: tuple[bytes, ...], private_key: Secret, at: datetime
    ) -> str:
        """Make a new pair the current one; return its path.

        Raises:
            PublishRefused: nothing that the kubelet looks at has changed.
            PublishUncertain: the switch happened but the disk did not confirm it.
        """
        current, updated = self.current(purpose), self._updated(purpose)
        make_private_directory(self._directory)
        for link in (current, updated):
            _insist_on_link(link)
        path = self._create(purpose, b"".join(chain) + private_key.reveal(), at)
        with located(updated):
            # Half a switch of somebody who died; the pair it leads to stays.
            with suppress(FileNotFoundError):
                os.unlink(updated)  # noqa: PTH108  # the crash tests watch the os module
            os.symlink(path, updated)  # noqa: PTH211  # as above
        with located(current):
            try:
                os.rename(updated, current)  # noqa: PTH104  # as above
            except OSError:
                # Else a kubelet without a current pair would take it up when it starts.
                with suppress(OSError):
                    os.unlink(updated)  # noqa: PTH108  # as above
                raise
        try:
            flush_directory(self._directory)
        except OSError as e:
            raise PublishUncertain(
                f"{current}: the disk did not confirm the switch: {e.strerror}", path=current
            ) from e
        self._prune(purpose, path)
        return path

    def kubeconfig_problem(self, now: datetime) -> str:
        """Say why a kubelet would be nobody with its kubeconfig; empty if it would not.

        One that gives it another way to log in (a token, a program) is somebody else's business.
        """
        path = self._kubeconfig
        try:
            user = render.current_user(_content(path))
        except FileNotFoundError:
            return f"{path} does not exist"
        except (OSError, ValueError) as e:
            return f"{path}: {_told(e)}"
        problem = _of_no_use(user, self._in_kubeconfig(), now)
        return f"{path}: {problem}" if problem else ""

    def write_kubeconfig(self, content: bytes) -> None:
        """Put a kubeconfig in place; what was there stays beside it as `NAME.before-certrotd`.

        Raises:
            PublishRefused: what was there is still there.
        """
        if _exists(self._kubeconfig):
            with located(self._kubeconfig):
                before = _content(self._kubeconfig)
            replace_file(f"{self._kubeconfig}.before-certrotd", before)
        replace_file(self._kubeconfig, content)

    def _updated(self, purpose: Purpose) -> str:
        return self.current(purpose).replace("-current.", "-updated.")

    def _create(self, purpose: Purpose, content: bytes, at: datetime) -> str:
        """Write a pair to a new file, durably; its name is free for sure."""
        for second in range(_TRIES):
            name = file_name(purpose, at + timedelta(seconds=second))
            path = posixpath.join(self._directory, name)
            with located(path):
                try:
                    fd = os.open(path, _CREATE, 0o600)
                except FileExistsError:
                    continue
                try:
                    write_all(fd, content)
                    os.fsync(fd)
                finally:
                    os.close(fd)
                flush_directory(self._directory)
            return path
        raise PublishRefused(
            f"{self._directory}: all names from {file_name(purpose, at)} on are taken",
            path=self._directory,
            hint="look at what writes there",
        )

    def _prune(self, purpose: Purpose, in_use: str) -> None:
        """Unlink old pairs; that they stay does no harm, so no error counts."""
        with suppress(OSError):
            names = (each for each in os.listdir(self._directory) if is_pair(purpose, each))  # noqa: PTH208
            paths = [posixpath.join(self._directory, each) for each in names]
            kept = {in_use, self._target(purpose)}
            old = sorted((_changed(each), each) for each in paths if each not in kept)
            for _, path in old[:-KEPT]:
                os.unlink(path)  # noqa: PTH108  # as above

    def _target(self, purpose: Purpose) -> str:
        return os.path.realpath(self.current(purpose))

    def _in_kubeconfig(self) -> Held | None:
        """Read the pair that the kubeconfig has inside or names; None where it does neither."""
        path = self._kubeconfig
        try:
            user = render.current_user(_content(path))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as e:
            return Held(path=path, problem=_told(e))
        if b"client-certificate-data" in user:
            return _held(path, None)
        try:
            named = (user[b"client-certificate"].decode(), user[b"client-key"].decode())
        except (KeyError, UnicodeDecodeError):
            return None
        files = tuple(posixpath.join(posixpath.dirname(path), each) for each in named)
        if not all(map(_exists, files)):
            return None
        return _held(files[0], (files[0], files[1]))


def _of_no_use(user: dict[bytes, bytes], held: Held | None, now: datetime) -> str:
    """Say why nobody can log in as the user of a kubeconfig; empty if somebody may."""
    if not user:
        return "it names no client certificate"
    if held is None:
        named = user.get(b"client-certificate")
        return f"{named.decode(errors='replace')} does not exist" if named else ""
    if held.leaf is None:
        return held.problem
    ended = now >= held.leaf.not_after
    return f"its certificate ended at {held.leaf.not_after:%Y-%m-%d}" if ended else ""


def _held(path: str, files: tuple[str, str] | None) -> Held:
    """Read a pair from two files, which may be the same, or from within a kubeconfig."""
    try:
        if files is None:
            inside = Kubeconfig(server="", embed=True)
            stored = [_stored(path, OutputKind.KUBECONFIG, inside)]
        elif files[0] == files[1]:
            stored = [_stored(files[0], OutputKind.COMBINED)]
        else:
            kinds = (OutputKind.CERTIFICATE, OutputKind.KEY)
            stored = [_stored(*each) for each in zip(files, kinds, strict=True)]
        found = render.identity(tuple(stored))
        leaf = x509.parse_certificate(found.chain[0])
        key = x509.public_key_of(found.private_key) if found.private_key else None
    except (OSError, ValueError) as e:
        return Held(path=path, files=files, problem=_told(e))
    return Held(path=path, leaf=leaf, key=key, files=files)


def _stored(path: str, kind: OutputKind, inside: Kubeconfig | None = None) -> StoredFile:
    output = Output(path=path, kind=kind, mode=0o600, kubeconfig=inside)
    return StoredFile(output=output, content=Secret(_content(path)))


def _content(path: str) -> bytes:
    """Read a plain file.

    Raises:
        OSError: it cannot be read, is no plain file, or is too large.
    """
    fd = os.open(path, _READ)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "is not a plain file")
        content = b""
        while piece := os.read(fd, LARGEST + 1 - len(content)):
            content += piece
    finally:
        let_go(fd)
    if len(content) > LARGEST:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return content


def _told(error: OSError | ValueError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


def _exists(path: str) -> bool:
    """Whether a path leads somewhere; what cannot be looked at is read later, and told then."""
    try:
        os.stat(path)  # noqa: PTH116  # as above
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def _insist_on_link(path: str) -> None:
    """Refuse what the kubelet refuses: a file where it expects a link.

    Raises:
        PublishRefused: there is one.
    """
    with located(path):
        try:
            mode = os.lstat(path).st_mode
        except FileNotFoundError:
            return
    if not stat.S_ISLNK(mode):
        raise PublishRefused(
            f"{path}: is not a link, and the kubelet can replace only a link",
            path=path,
            hint=f"keep what is in it: mv {path} {path}.old",
        )


def _changed(path: str) -> float:
    return os.lstat(path).st_mtime
