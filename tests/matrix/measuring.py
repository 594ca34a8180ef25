"""Runs the cases: how long until the new one is used, and what is not used without a restart."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

from certrotd.core.reloading import MatrixRow, Version, parse_version, row_for
from certrotd.presets import matrix, programs
from tests.matrix.publishing import GRACE
from tests.testbed.catalogue import SERVERS
from tests.testbed.kubeapi import ApiAnswered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tests.matrix.case import Case

SLOW = timedelta(minutes=1)
"""Rows that may take longer are measured at the same time as all others."""
AFTER_RESTART = 90.0
_WATCHED = "inotify"
_QUICK_AT_ONCE = 3
_LATE = 60.0
"""How many seconds beyond its limit a row is still looked at, to tell slow from never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was measured of one row; None is what there was not.

    Times are seconds: from the rename, from the unlinking of the replaced files (negative if it
    was used before), `held` without a restart and still not used, `restarted` from the restart's
    end to use. All of several rounds were like that or quicker.
    """

    row: MatrixRow
    evidence: str
    rounds: int = 1
    renamed: float | None = None
    retired: float | None = None
    held: float | None = None
    restarted: float | None = None
    problem: str = ""

    @property
    def waited(self) -> float | None:
        """Seconds that count against the row's limit.

        A watcher of an inode cannot wake before the unlinking; all others start at the rename.
        """
        return self.retired if _WATCHED in self.row.how else self.renamed

    def agrees(self, allowance: float = 0.0) -> bool:
        """Whether the matrix is right; `allowance` seconds are the machine's own slowness."""
        if self.problem:
            return False
        if not self.row.reloads:
            return self.held is not None and self.restarted is not None
        limit = self.row.within.total_seconds() + allowance
        return self.waited is not None and self.waited <= limit


def row_of(program: str, material: str) -> MatrixRow:
    """The row of the pinned release."""
    row = row_for(matrix(), program, material, pinned(program))
    assert row is not None, f"no row for {program} {material}"
    return row


def version_of(program: str) -> str:
    """The pinned release of a program; empty if none is built."""
    built = {"kubernetes": SERVERS["kube-apiserver"].version, "etcd": SERVERS["etcd"].version}
    return built.get(programs()[program].releases, "")


def pinned(program: str) -> Version | None:
    """The same, as the matrix compares it."""
    return parse_version(version_of(program))


def measure(
    cases: Sequence[Case],
    *,
    hold: float,
    rounds: int,
    processes: Mapping[str, Callable[[], None]] = MappingProxyType({}),
) -> list[Finding]:
    """Measure all of them on one bed.

    Args:
        cases: What to measure.
        hold: Seconds after which a row without reload must still not be in use.
        rounds: How often the quick ones are repeated.
        processes: What restarts each and returns when it is ready, in the order of the restarts.
    """
    rows = {id(case): row_of(case.program, case.material) for case in cases}
    static = [case for case in cases if not rows[id(case)].reloads]
    slow = [case for case in cases if rows[id(case)].within > SLOW]
    quick = [case for case in cases if timedelta(0) < rows[id(case)].within <= SLOW]
    assert {case.process for case in static} <= processes.keys(), "what cannot be restarted?"
    publications = []
    for case in static:
        _ready(case)
        publications.append(case.publish())
    began = time.time()
    with (
        ThreadPoolExecutor(max(len(slow), 1)) as many,
        ThreadPoolExecutor(_QUICK_AT_ONCE) as few,
    ):
        running = [many.submit(_reload, case, rows[id(case)], 1) for case in slow]
        running += [few.submit(_reload, case, rows[id(case)], rounds) for case in quick]
        findings = [each.result() for each in running]
    time.sleep(max(0.0, began + hold - time.time()))
    for each in filter(None, publications):
        each.retired.result()
    held = {id(case): _held(case, time.time() - began) for case in static}
    for process, restart in processes.items():
        mine = [case for case in static if case.process == process]
        if mine:
            _say(f"restarting {process}")
            restart()
            findings += [_restarted(case, rows[id(case)], *held[id(case)]) for case in mine]
    return findings


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """As the matrix has them."""
    return sorted(findings, key=lambda each: matrix().index(each.row))


def _ready(case: Case) -> None:
    """Make sure that looking works: what is there now must be seen to be used."""
    if _wait(case.uses_new, case.interval, time.time() + _LATE) is None:
        raise AssertionError(f"{case.program} {case.material}: what it started with is not seen")


def _reload(case: Case, row: MatrixRow, rounds: int) -> Finding:
    slowest = Finding(row=row, evidence=case.evidence, problem="not measured")
    for count in range(1, rounds + 1):
        found = _reload_once(case, row)
        if found.problem:
            return found
        if count == 1 or (found.waited or 0) > (slowest.waited or 0):
            slowest = found
    _say(f"{row.program} {row.material}: {slowest.renamed:.2f} s")
    return Finding(
        row=row,
        evidence=case.evidence,
        rounds=rounds,
        renamed=slowest.renamed,
        retired=slowest.retired,
    )


def _reload_once(case: Case, row: MatrixRow) -> Finding:
    _ready(case)
    publication = case.publish()
    assert publication is not None, "only files are reloaded"
    limit = publication.renamed_at + GRACE + row.within.total_seconds() + _LATE
    used = _wait(case.uses_new, case.interval, limit)
    retired = publication.retired.result()
    if used is None:
        problem = f"not used after {limit - publication.renamed_at:.0f} s"
        return Finding(row=row, evidence=case.evidence, problem=problem)
    return Finding(
        row=row,
        evidence=case.evidence,
        renamed=used - publication.renamed_at,
        retired=used - retired,
    )


def _held(case: Case, seconds: float) -> tuple[float, str]:
    """Look that the old one is still used and the new one is not."""
    if not case.uses_old():
        return seconds, f"the old one is not used any more after {seconds:.0f} s without a restart"
    try:
        used = case.uses_new()
    except (OSError, ApiAnswered):
        used = False
    return seconds, f"used without a restart, after {seconds:.0f} s" if used else ""


def _restarted(case: Case, row: MatrixRow, held: float, problem: str) -> Finding:
    began = time.time()
    used = _wait(case.uses_new, case.interval, began + AFTER_RESTART)
    if used is None:
        problem = problem or f"not used {AFTER_RESTART:.0f} s after a restart"
    else:
        _say(f"{row.program} {row.material}: used after the restart")
    return Finding(
        row=row,
        evidence=case.evidence,
        held=held,
        restarted=None if used is None else used - began,
        problem=problem,
    )


def _wait(look: Callable[[], bool], interval: float, until: float) -> float | None:
    """Look until it is true; return when the look that saw it ended, None if none did."""
    while True:
        try:
            seen = look()
        except (OSError, ApiAnswered):
            seen = False  # down, or it refuses: not yet
        now = time.time()
        if seen:
            return now
        if now > until:
            return None
        time.sleep(interval)


def _say(text: str) -> None:
    print(f"matrix: {text}", file=sys.stderr, flush=True)
