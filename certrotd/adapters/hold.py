"""The hold as a small JSON file: written whole and durably, easy to read for people."""

from __future__ import annotations

import json
import os
import posixpath
from contextlib import suppress
from datetime import UTC, datetime

from certrotd.durable import flush_directory, let_go, located, refusal, replace_file


class FileHold:
    """Implements `ports.Hold` in one file.

    `problem` says why the last look at it was in vain; a damaged file counts as a hold.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.problem = ""

    def place(self, reason: str, at: datetime) -> None:
        """Put rotation on hold, durably; a second hold keeps the first reason.

        Raises:
            PublishRefused: it could not be written down.
        """
        if self.placed() is not None:
            return
        document = {"reason": reason, "at": at.isoformat()}
        replace_file(self._path, json.dumps(document).encode() + b"\n")

    def placed(self) -> tuple[str, datetime] | None:
        """Return reason and time of the present hold, or None.

        None also for a user who may not read it: who may not read it cannot rotate either.

        Raises:
            PublishRefused: the disk reports an error.
        """
        self.problem = ""
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except PermissionError as e:
            self.problem = f"{self._path}: {e.strerror}"
            return None
        except OSError as e:
            raise refusal(e, self._path) from e
        with located(self._path):
            try:
                content = os.read(fd, 1 << 20)
                changed = os.fstat(fd).st_mtime
            finally:
                let_go(fd)
        return self._decode(content) or (
            f"{self._path} is damaged: whether and why there is a hold cannot be read",
            datetime.fromtimestamp(changed, UTC),
        )

    def lift(self) -> None:
        """End the hold; nothing happens if there is none.

        Raises:
            PublishRefused: it could not be removed.
        """
        with located(self._path), suppress(FileNotFoundError):
            os.unlink(self._path)  # noqa: PTH108  # the crash tests watch the os module
            flush_directory(posixpath.dirname(self._path))

    @staticmethod
    def _decode(content: bytes) -> tuple[str, datetime] | None:
        try:
            document = json.loads(content)
            reason, at = document["reason"], datetime.fromisoformat(document["at"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        return (str(reason), at) if at.tzinfo else None
