"""What is remembered of a node's requests: one small JSON file a purpose, 0600, written whole."""

from __future__ import annotations

import json
import os
import posixpath
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from certrotd.core.kubelets import PAUSES, Attempt, Cause, Record
from certrotd.core.model import Secret
from certrotd.core.model.kubelets import Purpose
from certrotd.durable import let_go, located, refusal, replace_file

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST = 1 << 20
_NAMES = {Purpose.CLIENT: "client.json", Purpose.SERVING: "serving.json"}


class FileRecords:
    """Implements `ports.kubelets.Records` in a directory of its own."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def load(self, purpose: Purpose) -> Record:
        """Return what was saved last; nothing if there is nothing.

        A damaged file counts as many requests at the time it was written: whatever damages it must
        not let a node ask without bounds.

        Raises:
            PublishRefused: the disk reports an error.
        """
        path = self._path(purpose)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return Record()
        except OSError as e:
            raise refusal(e, path) from e
        with located(path):
            try:
                content, status = os.read(fd, _LONGEST), os.fstat(fd)
            finally:
                let_go(fd)
        try:
            return _record(json.loads(content))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            changed = datetime.fromtimestamp(status.st_mtime, UTC)
            return Record(requests=(changed,) * len(PAUSES))

    def save(self, purpose: Purpose, record: Record) -> None:
        """Remember it durably.

        Raises:
            PublishRefused: what was remembered before still is.
        """
        replace_file(self._path(purpose), json.dumps(_document(record)).encode() + b"\n")

    def _path(self, purpose: Purpose) -> str:
        return posixpath.join(self._directory, _NAMES[purpose])


def _document(record: Record) -> dict[str, object]:
    attempt = record.attempt
    return {
        "requests": [each.isoformat() for each in record.requests],
        "stored_at": _written(record.stored_at),
        "restarted_at": _written(record.restarted_at),
        "attempt": attempt
        and {
            "name": attempt.name,
            "key": attempt.private_key.reveal().decode("ascii"),
            "request": attempt.request.decode("ascii"),
            "cause": str(attempt.cause),
            "begun_at": attempt.begun_at.isoformat(),
            "submitted": attempt.submitted,
        },
    }


def _record(document: Mapping[str, Any]) -> Record:
    attempt = document["attempt"]
    return Record(
        requests=tuple(_moment(each) for each in document["requests"]),
        stored_at=_optional(document["stored_at"]),
        restarted_at=_optional(document["restarted_at"]),
        attempt=Attempt(
            name=str(attempt["name"]),
            private_key=Secret(attempt["key"].encode()),
            request=attempt["request"].encode(),
            cause=Cause(attempt["cause"]),
            begun_at=_moment(attempt["begun_at"]),
            submitted=bool(attempt["submitted"]),
        )
        if attempt
        else None,
    )


def _written(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _optional(text: str | None) -> datetime | None:
    return _moment(text) if text else None


def _moment(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a time without its zone")
    return at
