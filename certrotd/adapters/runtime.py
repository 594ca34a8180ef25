"""A running process about itself, from what can be asked; and the files that it reads."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from certrotd.core.model import ReadFile, RuntimeFacts, SeenFile
from certrotd.core.x509 import split_pem

if TYPE_CHECKING:
    from collections.abc import Iterable

LARGEST = 1024 * 1024
"""How much of a file is read, in bytes."""
LINKS = 40
"""How many links may lead to a file; as the kernel's own limit."""
_BEGIN = b"-----BEGIN "
_PEM = ("cluster-signing", "service-account-keys", "token-keys")
"""Materials that are certificates or keys."""
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"


class Source(Protocol):
    """One thing that can be asked about a process."""

    def read(self) -> RuntimeFacts:
        """Ask once, in bounded time; what is not learned stays None, and `detail` says why."""


@dataclass(frozen=True, slots=True)
class GivenVersion:
    """A version that the configuration gives."""

    version: str

    def read(self) -> RuntimeFacts:
        """Return it."""
        return RuntimeFacts(version=self.version, detail=f"{self.version} (configured)")


@dataclass(frozen=True, slots=True)
class ProcessRuntime:
    """Asks `versions` in their order until one answers, and `loopback` if there is one.

    What was in a file at the last look is kept as a hash, for as long as this object lives.
    """

    versions: tuple[Source, ...] = ()
    loopback: Source | None = None
    _known: dict[str, tuple[bytes, datetime]] = field(default_factory=dict, repr=False)

    def facts(self) -> RuntimeFacts:
        """Ask."""
        version, told = None, []
        for source in self.versions:
            said = source.read()
            told.append(said.detail)
            if said.version is not None:
                version, told = said.version, [said.detail]
                break
        ends = None
        if self.loopback is not None:
            said = self.loopback.read()
            ends = said.loopback_ends
            told.append(said.detail)
        return RuntimeFacts(
            version=version, detail="; ".join(filter(None, told)), loopback_ends=ends
        )

    def files(self, reads: tuple[ReadFile, ...]) -> tuple[SeenFile, ...]:
        """Look at files.

        One was changed when its inode, or that of a link on the way to it, last was (`st_ctime`).
        The time of its content would not do: `cp -p` and `mv` bring the content's old time with
        them. The price: `chmod`, `chown` and a hard link (some backups make them) move it too,
        and look like a change at the first look; from then on the content is compared, and only
        another content counts.
        """
        return tuple(self._seen(each) for each in reads)

    def _seen(self, file: ReadFile) -> SeenFile:
        try:
            changed, content = _read(file.path)
        except OSError as e:
            return SeenFile(file=file, changed_at=None, problem=f"cannot be read: {_why(e)}")
        digest = hashlib.sha256(content).digest()
        known, since = self._known.get(file.path, (b"", changed))
        if digest == known:
            changed = since
        self._known[file.path] = digest, changed
        try:
            count = len(split_pem(content)) if _CERTIFICATE in content else 0
        except ValueError as e:
            return SeenFile(file=file, changed_at=changed, problem=f"cannot be used: {e}")
        problem = _lack(content, file.material, count)
        return SeenFile(file=file, changed_at=changed, certificates=count, problem=problem)


def _lack(content: bytes, material: str, certificates: int) -> str:
    """Say what a file must hold and does not: half-written, it would keep a process down."""
    if not content.strip():
        return "is empty"
    if material.endswith("-ca") and not certificates:
        return "holds no certificate"
    if material in _PEM and _BEGIN not in content:
        return "holds nothing in PEM"
    return ""


def _read(path: str) -> tuple[datetime, bytes]:
    """Return when a file was last changed, and its content.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    # Without O_NONBLOCK a named pipe in its place would hold us for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError("it is no regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(LARGEST)
    finally:
        os.close(descriptor)
    latest = max([found.st_ctime_ns, *_links(path)])
    return datetime.fromtimestamp(latest / 1e9, UTC), content


def _links(path: str) -> Iterable[int]:
    """Yield when each link on the way to a file was made, in ns, those of its folders too."""
    at, pending, followed = Path("/"), list(reversed(Path(path).parts[1:])), 0
    while pending:
        part = pending.pop()
        here = at.parent if part == ".." else at / part
        found = here.lstat()
        if not stat.S_ISLNK(found.st_mode):
            at = here
            continue
        followed += 1
        if followed > LINKS:
            raise OSError("too many links lead to it")
        yield found.st_ctime_ns
        target = here.readlink()
        if target.is_absolute():
            at = Path("/")
        pending += reversed([each for each in target.parts if each != "/"])


def _why(error: OSError) -> str:
    return error.strerror or str(error)
