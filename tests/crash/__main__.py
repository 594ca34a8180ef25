"""`python -m tests.crash [--long]`: all sweeps and random lives, the mutants, and a table."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

import certrotd
from certrotd.adapters.clock import SystemClock
from certrotd.adapters.flock import FileLock
from certrotd.core.errors import LockHeld
from tests.crash import disks, replay, scenes, straced, sweeps, test_power_cut, test_store_crash
from tests.crash.components import Components
from tests.crash.machine import MEMORY, Life
from tests.crash.mutants import MUTANTS, SOUND, catch
from tests.crash.sweeps import STORIES, Story, Tally
from tests.crash.whole import Whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Sweep = Callable[[Whole, Story, Tally, int, int], Tally]

STRIDES: dict[Sweep, tuple[int, int]] = {
    sweeps.kills: (1, 1),
    sweeps.torn: (11, 1),
    sweeps.errors: (23, 2),
    sweeps.lasting: (23, 2),
    sweeps.lies: (2, 1),
}
"""How far apart the points are, in the short and the long form."""
LIVES, STEPS = 60, 50
"""How many lives a seed has, and how many steps a life at most."""
SEEDS = {False: 1, True: 42}
"""How many seeds are played, one after the other; all of them together have 100,000 steps."""


@contextmanager
def a_node() -> Iterator[Whole]:
    """Give a node in memory."""
    components = Components()
    parent = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=parent, prefix="certrotd-") as directory:
        yield Whole(Path(directory) / "node", components)
    components.close()


def live(lives: int, seed: int) -> int:
    """Play random lives; return how many steps they had.

    Raises:
        AssertionError: something does not hold; hypothesis prints the life.
    """
    Life.steps = 0
    Life._hypothesis_internal_use_seed = seed  # what @seed sets
    phases = [Phase.generate]
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=lives,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            phases=phases,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        ),
    )
    return Life.steps


def live_all(seed: int, seeds: int, jobs: int) -> bool:
    """Play `seeds` seeds from this one on, several at a time; print a row for all of them.

    A seed that finds something prints its life, and `lives --seed` plays it again.
    """
    began, steps, bad = time.monotonic(), 0, list[str]()
    with ProcessPoolExecutor(jobs) as pool:
        playing = {pool.submit(live, LIVES, each): each for each in range(seed, seed + seeds)}
        for done in as_completed(playing):
            if (error := done.exception()) is None:
                steps += done.result()
            else:
                traceback.print_exception(error)
                bad.append(f"seed {playing[done]}: {error!r}")
            if seeds > 1:
                print(f"    seed {playing[done]}: {steps} steps so far", flush=True)
    return _row(f"random lives, {seeds} seeds (steps)", steps, bad, began)


def hunt(who: str) -> None:
    """Look for a defect until the first is found.

    Raises:
        AssertionError: here it is.
    """
    if who == "lives":
        live(80, seed=0)
    elif who == "power":
        power("ext4", scenes.renewal, stride=2)
    elif who == "replay":
        replay.scene("xfs", scenes.renewal, Tally(at_first=True))
    elif who == "two":
        _two()
    else:
        sweep = {each.__name__: each for each in STRIDES}[who]
        stride = {"kills": 5, "torn": 41, "errors": 101}.get(who, 51)
        with a_node() as node:
            for story in STORIES:
                sweeps.instants(node, story, Tally(at_first=True))
                sweep(node, story, Tally(at_first=True), stride, 0)


def power(kind: str, make: Callable[[scenes.Place], scenes.Scene], stride: int) -> int:
    """Cut the power at every `stride`th call, the log lost and kept; return the number of points.

    Raises:
        NoDisk: there is no such file system here.
    """
    parent = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=parent, prefix="certrotd-") as directory:
        disk = disks.Disk(Path(directory) / "image", Path(directory) / "disk", kind)
        with disks.mounted(disk):
            points = test_power_cut.sweep(disk, make, disks.LOG_LOST, stride)
            return points + test_power_cut.sweep(disk, make, disks.LOG_KEPT, stride)


def _two() -> None:
    with tempfile.TemporaryDirectory(prefix="certrotd-") as directory:
        one, other = (
            FileLock(str(Path(directory) / "state" / "lock"), clock=SystemClock()) for _ in range(2)
        )
        with one.hold("rotate"):
            try:
                with other.hold("rotate"):
                    raise AssertionError("two at work")
            except LockHeld:
                return


def _row(name: str, points: int, bad: list[str], began: float) -> bool:
    print(f"{name:<44}{points:>9}{len(bad):>12}{time.monotonic() - began:>9.0f} s", flush=True)
    for each in bad[:5]:
        print(f"    {each[:300]}")
    return not bad


def sweep_all(*, long: bool) -> bool:
    """Print a row for each scenario; say whether there was no bad state."""
    print(f"{'scenario':<44}{'points':>9}{'bad states':>12}{'time':>11}")
    good = True
    with a_node() as node:
        for story in STORIES:
            began = time.monotonic()
            seen = sweeps.instants(node, story, Tally())
            good &= _row(f"{story.name}: every instant", seen.points, seen.bad, began)
            for sweep, (short, every) in STRIDES.items():
                began = time.monotonic()
                tally = sweep(node, story, Tally(), every if long else short, 0)
                name = sweep.__name__
                good &= _row(f"{story.name}: {_WORDS[name]}", tally.points, tally.bad, began)
    return good & store_all(long=long)


_WORDS = {
    "kills": "kill before every call",
    "torn": "the same, each write cut short",
    "errors": "an error in every call",
    "lasting": "an error in every call from then on",
    "lies": "a flush fails once, then lies",
}


def store_all(*, long: bool) -> bool:
    """Sweep the scenes of the store alone, in memory and under power cuts."""
    good, began = True, time.monotonic()
    points, bad = 0, list[str]()
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as directory:
        place = scenes.Place(Path(directory) / "place")
        for make in scenes.SCENES:
            for sweep in (test_store_crash.sweep_kills, test_store_crash.sweep_errors):
                try:
                    points += sweep(place, make(place), 1 if long else 3)
                except AssertionError as e:
                    bad.append(f"{make.__name__}: {e}")
    good &= _row("store: kill and errors, eight scenes", points, bad, began)
    for kind in disks.KINDS:
        good &= _power(kind, 1 if long else 4)
        good &= _replayed(kind, 1 if long else 4)
    return good & _straced(long=long)


def _power(kind: str, stride: int) -> bool:
    began, points, bad = time.monotonic(), 0, []
    for make in test_power_cut.MAKES:
        try:
            points += power(kind, make, stride)
        except AssertionError as e:
            bad.append(f"{make.__name__}: {e}")
        except disks.NoDisk as e:
            print(f"store: power cut on {kind}: not tried: {e}")
            return True
    return _row(f"store: power cut on {kind}, log lost and kept", points, bad, began)


def _replayed(kind: str, stride: int) -> bool:
    """Replay the disk's record of publications and of whole runs."""
    good, began, tally = True, time.monotonic(), Tally()
    try:
        for make in test_power_cut.MAKES:
            replay.scene(kind, make, tally)
        good &= _row(f"store: {kind} replayed to every flush", tally.points, tally.bad, began)
        for story in STORIES:
            began = time.monotonic()
            tally = replay.story(kind, story, Tally(), stride)
            name = f"{story.name}: {kind} replayed to every flush"
            good &= _row(name, tally.points, tally.bad, began)
    except disks.NoDisk as e:
        print(f"replay of {kind}: not tried: {e}")
    return good


def _straced(*, long: bool) -> bool:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as directory:
        try:
            tally = straced.sweep(Path(directory) / "node", Tally(), 1 if long else 5)
        except straced.NoTracing as e:
            print(f"publish: strace: not tried: {e}")
            return True
    return _row("publish: kill and errors by strace", tally.points, tally.bad, began)


def mutants_all(words: list[str]) -> bool:
    """Print who found which mutant, of those with all these words; say whether all were found."""
    chosen = [each for each in MUTANTS if all(word in each.name for word in words)]
    print(f"\n{'mutant':<44}{'found by':>10}{'':>11}")
    found = 0
    parent = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=parent, prefix="certrotd-") as directory:
        if not words and (seen := catch(SOUND, Path(directory) / "copy"))[0]:
            print(f"{SOUND.name}: {seen}")
            return False
        for mutant in chosen:
            began = time.monotonic()
            hunter, _how = catch(mutant, Path(directory) / "copy")
            found += bool(hunter)
            took = time.monotonic() - began
            print(f"{mutant.name:<44}{hunter or 'NOBODY':>10}{took:>9.0f} s", flush=True)
    print(f"mutants caught: {found}/{len(chosen)}")
    return found == len(chosen)


def main() -> int:
    """Run it; 0 if there is no bad state and no mutant lives."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("what", nargs="*", default=["all"], help="sweeps, lives, mutants [WORD]")
    parser.add_argument("--long", action="store_true", help="every point; hours")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--jobs", type=int, default=1, help="random lives at the same time")
    given = parser.parse_args()
    if given.what[0] == "hunt":
        hunt(given.what[1])
        return 0
    print(f"certrotd {certrotd.__version__}, seed {given.seed}")
    what, good = given.what[0], True
    if what in ("all", "sweeps"):
        good &= sweep_all(long=given.long)
    if what in ("all", "lives"):
        good &= live_all(given.seed, SEEDS[given.long], given.jobs)
    if what in ("all", "mutants"):
        good &= mutants_all(given.what[1:])
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
