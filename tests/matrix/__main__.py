"""`python -m tests.matrix [FILE]`: measure every row that can be, and write the page."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from certrotd.adapters.clock import SystemClock
from tests.matrix import apiserver, components, controllers, etcd, peers, twins
from tests.matrix.bed import Bed
from tests.matrix.measuring import measure
from tests.matrix.report import page

HOLD = 370.0
"""Seconds after which what needs a restart must still use the old one: longer than any reload."""
ROUNDS = 3


def main() -> None:
    """Exit with 1 if a row disagrees."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="certrotd-matrix-") as directory:
        bed = Bed(Path(directory))
        cases = [
            each
            for of in (apiserver, components, controllers, etcd, peers, twins)
            for each in of.cases(bed)
        ]
        with bed:
            findings = measure(cases, hold=HOLD, rounds=ROUNDS, processes=bed.processes)
    minutes = round((time.monotonic() - began) / 60)
    text = page(findings, SystemClock().now().date(), minutes)
    if sys.argv[1:]:
        Path(sys.argv[1]).write_text(text)
    else:
        print(text)
    if wrong := [each for each in findings if not each.agrees()]:
        rows = ", ".join(f"{each.row.program} {each.row.material}" for each in wrong)
        sys.exit(f"the matrix is wrong about: {rows}")


if __name__ == "__main__":
    main()
