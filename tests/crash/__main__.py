"""`python -m tests.crash [--long]`: all sweeps and random lives, the mutants, and a table.

Parts of it alone: `sweeps`, `lives`, `mutants [WORD]...`. What stands in the table can be had again
with the same seed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import certrotd
from tests.crash import parts
from tests.crash.hunts import hunt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.crash.parts import Row

_T = TypeVar("_T")
WIDTH = 60


def played(work: Iterable[Callable[[], _T]], jobs: int) -> Iterator[_T]:
    """Do several parts at the same time; return what they return, in order."""
    with ProcessPoolExecutor(jobs) as pool:
        for each in [pool.submit(each) for each in work]:
            yield each.result()


def show(rows: Iterable[Row]) -> bool:
    """Print rows as they come, and a last one if there are many; say whether nothing was bad."""
    points = bad = 0
    for each in rows:
        if each.note:
            print(f"{each.name}: not tried: {each.note}")
            continue
        points, bad = points + each.points, bad + len(each.bad)
        print(
            f"{each.name:<{WIDTH}}{each.points:>9}{len(each.bad):>12}{each.took:>9.0f} s",
            flush=True,
        )
        for found in each.bad[:5]:
            print(f"    {found[:300]}")
    print(f"{'all of these':<{WIDTH}}{points:>9}{bad:>12}")
    return not bad


def show_mutants(found: Iterable[tuple[str, str, float]], *, sound_first: bool) -> bool:
    """Print who found which mutant; say whether all were, and nothing in the package as it is."""
    print(f"\n{'mutant':<{WIDTH}}{'found by':>10}")
    caught, good = [], True
    for number, (name, hunter, took) in enumerate(found):
        sound = sound_first and number == 0
        print(f"{name:<{WIDTH}}{hunter or 'NOBODY':>10}{took:>9.0f} s", flush=True)
        good &= bool(hunter) is not sound
        if not sound:
            caught.append(bool(hunter))
    print(f"mutants caught: {sum(caught)}/{len(caught)}")
    return good


def main() -> int:
    """Run it; 0 if there is no bad state and no mutant lives."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("what", nargs="*", default=["all"])
    parser.add_argument("--long", action="store_true", help="every point; hours")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="parts at the same time")
    given = parser.parse_args()
    if given.what[0] == "hunt":
        hunt(given.what[1])
        return 0
    what, words = given.what[0], given.what[1:]
    print(
        f"certrotd {certrotd.__version__}, seed {given.seed}, {given.jobs} parts at the same time"
    )
    good = True
    rows: list[Callable[[], Row]] = []
    if what in ("all", "sweeps"):
        rows += parts.scenarios(long=given.long)
    if what in ("all", "lives"):
        rows += parts.lives(given.seed, long=given.long)
    if rows:
        print(f"{'scenario':<{WIDTH}}{'points':>9}{'bad states':>12}{'time':>11}")
        good &= show(played(rows, given.jobs))
    if what in ("all", "mutants"):
        hunted = parts.mutants(words)
        good &= show_mutants(played(hunted, given.jobs), sound_first=not words)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
