"""The write-ahead record: one line of JSON an entry, each with its checksum.

A line is `{"at":…,"run":…,"kind":…,"component":…,…,"sum":"<CRC-32 of what stands before>"}`.
"""

from __future__ import annotations

import json
import os
import posixpath
import zlib
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from certrotd.core.errors import PublishRefused
from certrotd.core.model import (
    CertificateName,
    ComponentName,
    Entry,
    EntryKind,
    GenerationId,
    Published,
    RunId,
)
from certrotd.durable import (
    flush_directory,
    let_go,
    located,
    make_private_directory,
    refusal,
    replace_file,
    write_all,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

KEPT_FOR = timedelta(days=30)
KEPT_AT_MOST = 5_000
ALWAYS_KEPT = timedelta(hours=25)
"""The issuance budget looks back a day; what it counts is kept however much there is."""
COMPACTED_ABOVE = 2 << 20
"""Size in bytes from which an append looks for what can be dropped."""
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
_SUM = b',"sum":"'


class FileJournal:
    """Implements `ports.Journal` in one file of mode 0600.

    After a replay, `damaged` counts the lines in the middle that could not be understood, and
    `problem` says why the journal could not be read at all (a user without the right to).
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._compact_above = COMPACTED_ABOVE
        self.damaged = 0
        self.problem = ""

    def append(self, *entries: Entry) -> None:
        """Record all of them durably, in order, before returning.

        Raises:
            PublishRefused: the record could not be made durable; the effect must not happen.
        """
        if not entries:
            return
        lines = b"".join(map(_encode, entries))
        fd = self._open()
        try:
            with located(self._path):
                size = _cut_torn_line(fd)
                try:
                    write_all(fd, lines)
                    os.fdatasync(fd)
                except OSError:
                    # What may or may not be on disk must not be taken for a record.
                    with suppress(OSError):
                        os.ftruncate(fd, size)
                    raise
        finally:
            let_go(fd)
        if size + len(lines) > self._compact_above:
            self._compact()

    def replay(self) -> Iterable[Entry]:
        """Return all whole entries, oldest first; a torn last line is passed over.

        Entries of a kind that only a newer certrotd knows are passed over, too.

        Raises:
            PublishRefused: the disk reports an error.
        """
        found = [_decode(line) for line in self._lines()]
        self.damaged = sum(isinstance(each, ValueError) for each in found)
        return tuple(each for each in found if isinstance(each, Entry))

    def _open(self) -> int:
        try:
            return os.open(self._path, _FLAGS)
        except FileNotFoundError:
            pass
        except OSError as e:
            raise refusal(e, self._path) from e
        directory = posixpath.dirname(self._path)
        make_private_directory(directory)
        with located(self._path):
            fd = os.open(self._path, _FLAGS | os.O_CREAT, 0o600)
            try:
                flush_directory(directory)
            except OSError:
                let_go(fd)
                raise
            return fd

    def _lines(self) -> list[bytes]:
        """Read all whole lines."""
        self.problem = ""
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return []
        except PermissionError as e:
            self.problem = f"{self._path}: {e.strerror}"
            return []
        except OSError as e:
            raise refusal(e, self._path) from e
        with located(self._path), open(fd, "rb") as file:  # noqa: PTH123  # an open descriptor
            return file.read().split(b"\n")[:-1]

    def _compact(self) -> None:
        """Drop what nobody asks for any more; failing that, the journal stays as it is."""
        with suppress(PublishRefused):
            kept = b"".join(line + b"\n" for line in _worth_keeping(self._lines()))
            replace_file(self._path, kept)
            self._compact_above = max(COMPACTED_ABOVE, 2 * len(kept))


def _cut_torn_line(fd: int) -> int:
    """Remove what follows the last whole line; return the size."""
    size = end = os.fstat(fd).st_size
    while end > 0:
        start = max(0, end - 4096)
        newline = os.pread(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end < size:
        os.ftruncate(fd, end)
    return end


def _worth_keeping(lines: list[bytes]) -> list[bytes]:
    """Return the lines of the last month, of the last day in any case, and of open accounts."""
    # Imported here because only this needs to know what an account is.
    from certrotd.core.planning import owed_work  # noqa: PLC0415

    found = [(line, _decode(line)) for line in lines]
    entries = [each for _, each in found if isinstance(each, Entry)]
    newest = max((each.at for each in entries), default=None)
    open_since = {name: owed.since for name, owed in owed_work(entries).items()}
    kept = []
    for place, (line, entry) in enumerate(found):
        late = len(found) - place <= KEPT_AT_MOST
        if isinstance(entry, ValueError):
            continue
        if entry is None or newest is None:
            keep = late
        else:
            since = open_since.get(entry.component)
            age = newest - entry.at
            keep = (
                age <= ALWAYS_KEPT
                or (late and age <= KEPT_FOR)
                or (since is not None and entry.at >= since)
            )
        if keep:
            kept.append(line)
    return kept


def _encode(entry: Entry) -> bytes:
    document: dict[str, object] = {
        "at": entry.at.isoformat(),
        "run": entry.run,
        "kind": entry.kind,
        "component": entry.component,
    }
    if entry.certificate is not None:
        document["certificate"] = entry.certificate
    if entry.published is not None:
        published = entry.published
        document["published"] = {
            "certificate": published.certificate,
            "generation": published.generation,
            "previous": published.previous,
            "fingerprint": published.fingerprint,
            "serial": published.serial,
            "not_after": published.not_after.isoformat(),
            "published_at": published.published_at.isoformat(),
        }
    if entry.detail:
        document["detail"] = entry.detail
    # ASCII only, so that a line break within a text can never be taken for the end of a line.
    body = json.dumps(document, separators=(",", ":")).encode()[:-1]
    return b'%s%s%08x"}\n' % (body, _SUM, zlib.crc32(body))


def _decode(line: bytes) -> Entry | ValueError | None:
    """Return the entry; None for a kind we do not know, the error for what is damaged."""
    body, _, end = line.rpartition(_SUM)
    if end != b'%08x"}' % zlib.crc32(body):
        return ValueError("checksum")
    try:
        document = json.loads(body + b"}")
        if document["kind"] not in _KINDS:
            return None
        published = document.get("published")
        certificate = document.get("certificate")
        return Entry(
            at=datetime.fromisoformat(document["at"]),
            run=RunId(document["run"]),
            kind=EntryKind(document["kind"]),
            component=ComponentName(document["component"]),
            certificate=CertificateName(certificate) if certificate else None,
            published=_published(published) if published else None,
            detail=document.get("detail", ""),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        return ValueError(str(e))


_KINDS = frozenset(map(str, EntryKind))


def _published(document: dict[str, str]) -> Published:
    previous = document["previous"]
    return Published(
        certificate=CertificateName(document["certificate"]),
        generation=GenerationId(document["generation"]),
        previous=GenerationId(previous) if previous else None,
        fingerprint=document["fingerprint"],
        serial=document["serial"],
        not_after=datetime.fromisoformat(document["not_after"]),
        published_at=datetime.fromisoformat(document["published_at"]),
    )
