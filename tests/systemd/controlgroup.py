"""Control groups of one's own for a container, so that two of them do not share their units'.

systemd-nspawn, told to keep its unit, puts a container below the control group it is started in;
all containers of one process would then meet in `system.slice`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_ENTER = (
    'while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs" || exit; shift; done; shift; exec "$@"'
)


class ControlGroup:
    """One of this name in each hierarchy that systemd manages, below this process's own."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._directories: list[Path] = []

    def make(self) -> None:
        """Make them, empty."""
        self._directories = [each / self._name for each in _own()]
        for each in self._directories:
            each.mkdir(exist_ok=True)

    def entering(self, command: Sequence[str]) -> list[str]:
        """The command as it is run inside them."""
        return ["sh", "-c", _ENTER, "sh", *map(str, self._directories), "--", *command]

    def remove(self) -> None:
        """Remove them with all that systemd has left in them."""
        for directory in self._directories:
            for inner, _, _ in os.walk(directory, topdown=False):
                Path(inner).rmdir()
        self._directories = []


def _own() -> list[Path]:
    """Where this process is in the hierarchies without controllers: version 2, and systemd's."""
    mine = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        mine[controllers] = path.strip("/")
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mounted, kind, options, *_ = line.split()
        if kind == "cgroup2":
            found.append(Path(mounted) / mine[""])
        elif kind == "cgroup" and "name=systemd" in options.split(","):
            found.append(Path(mounted) / mine["name=systemd"])
    return found
