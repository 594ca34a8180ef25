"""What looks for a defect until it has found one."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from certrotd.adapters.clock import SystemClock
from certrotd.adapters.flock import FileLock
from certrotd.core.errors import LockHeld
from tests.crash import disks, replay, scenes, straced, sweeps, test_power_cut
from tests.crash.disks import MEMORY
from tests.crash.machine import Life
from tests.crash.pki import a_vault
from tests.crash.realmachine import RealLife
from tests.crash.stages import SCENES, a_node, of
from tests.crash.sweeps import STORIES, Story, Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.crash.whole import Whole

    Sweep = Callable[[Whole, Story, Tally, int, int], Tally]

STEPS = 50
"""How many steps a life has at most."""
REAL_STEPS = 30
"""The same of a life on real servers."""


def hunt(who: str) -> None:
    """Look for a defect until the first is found.

    Raises:
        AssertionError: here it is.
    """
    if who == "lives":
        for seed in range(3):
            live(80, seed)
    elif who == "real":
        live_really(40, seed=0)
    elif who == "power":
        power("ext4", scenes.renewal, stride=2)
    elif who == "replay":
        replay.scene("xfs", scenes.renewal, Tally(at_first=True))
    elif who == "strace":
        for name in SCENES:
            with of(name) as stage:
                straced.kills(stage, Tally(at_first=True), stride=3)
    elif who == "two":
        _two()
    else:
        sweep = named(who)
        stride = {"kills": 5, "torn": 41, "errors": 101}.get(who, 51)
        with a_node() as node:
            for story in STORIES:
                sweeps.instants(node, story, Tally(at_first=True))
                sweep(node, story, Tally(at_first=True), stride, 0)


def named(name: str) -> Sweep:
    """Return one of the sweeps over whole runs."""
    known = (sweeps.kills, sweeps.torn, sweeps.errors, sweeps.lasting, sweeps.lies)
    return {each.__name__: each for each in known}[name]


def live(lives: int, seed: int) -> int:
    """Play random lives; return how many steps they had.

    Raises:
        AssertionError: something does not hold; hypothesis prints the life.
    """
    Life.steps = 0
    _play(Life, lives, STEPS, seed)
    return Life.steps


def live_really(lives: int, seed: int, steps: int = REAL_STEPS) -> int:
    """Play random lives on real servers; return how many steps they had.

    Raises:
        BuildFailed: there is no Vault, and none can be built.
        AssertionError: something does not hold; hypothesis prints the life.
        Flaky: it did not hold once, and did when the life was played again.
    """
    RealLife.steps = 0
    with a_vault() as RealLife.vault:
        _play(RealLife, lives, steps, seed)
    return RealLife.steps


def _play(machine: type[RuleBasedStateMachine], lives: int, steps: int, seed: int) -> None:
    machine._hypothesis_internal_use_seed = seed  # what @seed sets
    phases = [Phase.generate]
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=lives,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            phases=phases,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        ),
    )


def power(kind: str, make: Callable[[scenes.Place], scenes.Scene], stride: int) -> int:
    """Cut the power at every `stride`th call, the log lost and kept; return the number of points.

    Raises:
        NoDisk: there is no such file system here.
    """
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="certrotd-") as directory:
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
