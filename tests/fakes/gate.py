"""Health as the test says."""

from __future__ import annotations

from certrotd.core.model import Evidence


class FakeGate:
    """Answers `script` one by one, then `is_open` for ever; counts the looks."""

    def __init__(self, *script: bool, is_open: bool = True) -> None:
        self.script = list(script)
        self.is_open = is_open
        self.looks = 0

    def check(self) -> Evidence:
        self.looks += 1
        holds = self.script.pop(0) if self.script else self.is_open
        return Evidence(source="fake", holds=holds, detail="healthy" if holds else "not healthy")
