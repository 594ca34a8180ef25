"""`python -m tests.matrix [FILE]`: measure every row that can be, and write the page."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.matrix import (
    apiserver,
    authenticators,
    components,
    controllers,
    etcd,
    logins,
    peers,
    twins,
)
from tests.matrix.bed import Bed
from tests.matrix.kubelet import KubeletBed
from tests.matrix.measuring import Finding, in_order, measure
from tests.matrix.publishing import CLOCK
from tests.matrix.report import page
from tests.testbed.staticpods import unavailable

HOLD = 370.0
"""Seconds after which what needs a restart must still use the old one: longer than any reload."""
ROUNDS = 3
_ROWS = (apiserver, peers, authenticators, components, controllers, etcd, logins, twins)


def of_the_control_plane(directory: Path) -> list[Finding]:
    """All rows of etcd, API server, controller manager and scheduler."""
    bed = Bed(directory)
    cases = [case for rows in _ROWS for case in rows.cases(bed)]
    with bed:
        return measure(cases, hold=HOLD, rounds=ROUNDS, processes=bed.processes)


def of_the_kubelet(directory: Path) -> list[Finding]:
    """The rows of the kubelet, where there can be one."""
    if reason := unavailable():
        print(f"matrix: no kubelet: {reason}", file=sys.stderr)
        return []
    bed = KubeletBed(directory)
    with bed.node:
        return measure(bed.cases(), hold=0, rounds=ROUNDS)


def main() -> None:
    """Exit with 1 if a row disagrees."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="certrotd-matrix-") as folder:
        findings = of_the_kubelet(Path(folder) / "kubelet")
        findings += of_the_control_plane(Path(folder) / "plane")
    minutes = round((time.monotonic() - began) / 60)
    text = page(in_order(findings), CLOCK.now().date(), minutes)
    if sys.argv[1:]:
        Path(sys.argv[1]).write_text(text)
    else:
        print(text)
    if wrong := [each for each in findings if not each.agrees()]:
        rows = ", ".join(f"{each.row.program} {each.row.material}" for each in wrong)
        sys.exit(f"the matrix is wrong about: {rows}")


if __name__ == "__main__":
    main()
