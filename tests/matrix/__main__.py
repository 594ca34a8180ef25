"""`python -m tests.matrix [FILE]`: measure every row that can be, and write the page."""

from __future__ import annotations

import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
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


def of_its_kubeconfig(bed: KubeletBed) -> list[Finding]:
    """The rows of the kubelet's kubeconfig, one after the other; twelve minutes."""
    with bed.kubeconfig() as kubeconfig:
        again = {"kubelet": kubeconfig.restart}
        found = measure(kubeconfig.authority_cases(), hold=HOLD, rounds=1, processes=again)
        return found + measure(kubeconfig.pair_cases(), hold=0, rounds=1)


def of_everything(directory: Path, stack: ExitStack) -> list[Finding]:
    """All rows; those of the kubelet where there can be one, whose node `stack` stops."""
    if reason := unavailable():
        print(f"matrix: no kubelet: {reason}", file=sys.stderr)
        return of_the_control_plane(directory / "plane")
    bed = KubeletBed(directory / "kubelet")
    stack.enter_context(bed.node)
    # The pool waits for its work, so the node is not stopped before.
    with ThreadPoolExecutor(1) as beside:
        found = measure(bed.cases(), hold=0, rounds=ROUNDS)
        kubeconfig = beside.submit(of_its_kubeconfig, bed)
        return found + of_the_control_plane(directory / "plane") + kubeconfig.result()


def main() -> None:
    """Exit with 1 if a row disagrees."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="certrotd-matrix-") as folder, ExitStack() as stack:
        findings = of_everything(Path(folder), stack)
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
