"""`certrotd config init` and other commands run in this process."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from certrotd import cli

if TYPE_CHECKING:
    import pytest


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the command said and how it ended."""

    code: int
    out: str
    err: str


def init(capture: pytest.CaptureFixture[str], *arguments: object) -> Outcome:
    """Run it as from a shell."""
    return run(capture, "config", "init", *arguments)


def run(capture: pytest.CaptureFixture[str], *arguments: object) -> Outcome:
    """Run a command of certrotd as from a shell."""
    before, code = sys.argv, 0
    sys.argv = ["certrotd", *map(str, arguments)]
    try:
        cli.main()
    except SystemExit as e:
        code = int(e.code or 0)
    finally:
        sys.argv = before
    said = capture.readouterr()
    return Outcome(code=code, out=said.out, err=said.err)
