"""`make bench`: every figure beside its peer's from the same run, as a ratio.

python -m bench [commands|publish|rotation|memory|load|kubelets]...
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench import commands, kubelets, load, memory, publish, rotation
from bench.lab import PYTHON, Lab
from bench.measures import HEADER
from certrotd.cli.tables import table
from tests.systemd.prerequisites import unavailable
from tests.testbed.vaultserver import VaultServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.measures import Measure

CASES: dict[str, Callable[[Lab], Iterator[Measure]]] = {
    "commands": commands.measure,
    "publish": lambda lab: publish.measure(lab.directory),
    "rotation": rotation.measure,
    "memory": memory.measure,
    "load": lambda lab: load.measure(lab.directory),
    "kubelets": kubelets.measure,
}


def main() -> None:
    """Measure what is named on the command line, or everything."""
    wanted = sys.argv[1:] or list(CASES)
    if unknown := set(wanted) - set(CASES):
        sys.exit(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(CASES)}")
    if set(wanted) != {"load"} and not Path(PYTHON).exists():
        sys.exit(f"there is no {PYTHON}; `make bench` makes it")
    if "rotation" in wanted and shutil.which("wrk") is None:
        sys.exit("wrk measures Vault's ceiling; install it (Debian: apt-get install wrk)")
    if "load" in wanted and (reason := unavailable()):
        if sys.argv[1:]:
            sys.exit(f"the load is put on a control plane in a container: {reason}")
        print(f"leaving out load: {reason}", file=sys.stderr)
        wanted.remove("load")
    rows = []
    with (
        tempfile.TemporaryDirectory(prefix="certrotd-bench-") as directory,
        VaultServer(Path(directory) / "vault") as vault,
    ):
        for name in wanted:
            print(f"measuring {name} …", file=sys.stderr)
            lab_directory = Path(directory) / name
            lab_directory.mkdir()
            rows += [each.row() for each in CASES[name](Lab(vault, lab_directory))]
    print(table(HEADER, rows))


if __name__ == "__main__":
    main()
