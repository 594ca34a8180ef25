"""Progress on standard error: one line that is rewritten on a terminal, few lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Self

_QUIET_INTERVAL = 30.0
"""Seconds between progress lines when standard error is a file."""


def say(message: str) -> None:
    """Print one line that stays."""
    print(f"testbed: {message}", file=sys.stderr, flush=True)


class Progress:
    """How far one long step is; use as a context manager."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._began = time.monotonic()
        self._shown = 0.0
        self._width = 0

    @property
    def elapsed(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self._began

    def show(self, detail: str) -> None:
        """Say how far it is, not more often than is readable."""
        terminal = sys.stderr.isatty()
        now = time.monotonic()
        if now - self._shown < (0.2 if terminal else _QUIET_INTERVAL):
            return
        self._shown = now
        minutes, seconds = divmod(int(self.elapsed), 60)
        line = f"testbed: {self._title}: {detail}, {minutes}:{seconds:02d}"
        if terminal:
            print(f"\r{line[:119]:<{self._width}}", end="", file=sys.stderr, flush=True)
            self._width = min(len(line), 119)
        else:
            print(line, file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        self._shown = 0.0
        return self

    def __exit__(self, *_: object) -> None:
        if self._width:
            print(f"\r{'':<{self._width}}\r", end="", file=sys.stderr, flush=True)
