"""What clients of a control plane notice while certrotd replaces all of its certificates.

A whole control plane as units of a systemd in a container (tests/plane), under clients that keep
reading, writing and watching; the peer is the same load without a rotation. Latencies count only
requests that succeeded in the end, with the retries that client-go makes unasked.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from bench.measures import Measure
from tests.plane.master import Master
from tests.plane.underload import UnderLoad
from tests.plane.units import PLANE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.plane.load import Report

ROUNDS = 3
WARM_UP = 10.0
"""Seconds of load before the first measurement: the API server fills its caches."""


def measure(directory: Path) -> Iterator[Measure]:
    """Measure the two rotations, each with as much time without one."""
    master = Master(directory)
    with master.container:
        master.prepare()
        _loaded(master, lambda: time.sleep(WARM_UP))
        processes = master.processes()
        yield from _compared(master, "full rotation")
        if master.processes() != processes:
            raise RuntimeError("a rotation that should restart nothing has restarted something")
        for unit in PLANE:
            restart = {"auto": None, "restart": {"unit": unit}}
            master.component(unit.removesuffix(".service"))["activation"] = restart
        master.write_config()
        yield from _compared(master, "full rotation, everything restarted", bounded=False)


def _compared(master: Master, work: str, *, bounded: bool = True) -> Iterator[Measure]:
    with_it, without = [], []
    for _ in range(ROUNDS):
        report = _loaded(master, lambda: _rotate(master))
        with_it.append(report)
        without.append(_loaded(master, lambda: time.sleep(report.seconds)))  # noqa: B023  # called in this round
    noticed = sum(each.failed + each.breaks for each in with_it)
    yield Measure(
        work=f"{work}: a client's request, 99th percentile",
        ours=statistics.median(each.p99 for each in with_it),
        peer=statistics.median(each.p99 for each in without),
        peer_name="same load, no rotation", unit="ms", aim=1.5 if bounded else None,
        note=f"median {_median(with_it)} against {_median(without)} ms",
    )  # fmt: skip
    yield Measure(
        work=f"{work}: requests failed, watches broken",
        ours=noticed,
        peer=sum(each.requests for each in with_it),
        peer_name="requests made", unit="", aim=0.0 if bounded else None,
        note=_noticed(with_it) + f"; without: {_noticed(without)}",
    )  # fmt: skip


def _loaded(master: Master, work: Callable[[], object]) -> Report:
    with UnderLoad(master) as load:
        work()
    return load.report


def _rotate(master: Master) -> None:
    outcome = master.rotate("--force")
    if outcome.code or set(outcome.results.values()) != {"done"}:
        raise RuntimeError(f"the rotation ended with {outcome.code}: {outcome.results}")
    master.await_ready()


def _median(reports: list[Report]) -> float:
    return statistics.median(each.p50 for each in reports)


def _noticed(reports: list[Report]) -> str:
    failed, breaks = sum(each.failed for each in reports), sum(each.breaks for each in reports)
    again = sum(each.asked_again + each.reconnected for each in reports)
    behind = sum(each.behind for each in reports)
    seconds = sum(each.seconds for each in reports)
    return (
        f"{failed} failed, {again} sent again, {breaks} watches broken, {behind} missed a write"
        f" in {seconds:.0f} s"
    )
