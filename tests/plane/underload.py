"""The load program run against a master, from inside its network."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Self

from tests.plane.load import Report
from tests.plane.master import ADMIN
from tests.systemd.container import REPOSITORY

if TYPE_CHECKING:
    from tests.plane.master import Master

_LIMIT = 60.0
"""Time limit in seconds for the clients to end."""


class UnderLoad:
    """Clients at work as long as the context is open; `report` afterwards."""

    def __init__(self, master: Master) -> None:
        self._container = master.container
        self._process: subprocess.Popen[str] | None = None
        self._report: Report | None = None

    def __enter__(self) -> Self:
        container = self._container
        program = [
            sys.executable, "-m", "tests.plane.load",
            str(container.path(ADMIN)), str(container.path("/")),
        ]  # fmt: skip
        self._process = subprocess.Popen(
            container.in_network(*program), cwd=REPOSITORY,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "at work\n"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        said = self._process.communicate(timeout=_LIMIT)[0]
        assert self._process.returncode == 0
        self._report = Report(**json.loads(said))

    @property
    def report(self) -> Report:
        """What the clients met."""
        assert self._report is not None, "the load is still at work"
        return self._report
