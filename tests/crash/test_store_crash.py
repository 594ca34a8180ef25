"""Killed before every call, and failing in every call: the paths show one whole set, always."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from certrotd.core.errors import CertrotdError, PublishRefused, PublishUncertain
from tests.crash.disks import MEMORY
from tests.crash.faults import CHANGING, FAILING, count, failing, injected, killed
from tests.crash.scenes import SCENES, Place, Scene, assert_converges, assert_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STRIDE = 7
"""The quick sweeps take every seventh point; those marked `crash` take all."""


@pytest.fixture
def place() -> Iterator[Place]:
    # In memory where there is such a file system: a sweep flushes some thousand times.
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="certrotd-") as directory:
        yield Place(Path(directory) / "place")


@pytest.fixture(params=SCENES)
def scene(request: pytest.FixtureRequest, place: Place) -> Scene:
    made: Callable[[Place], Scene] = request.param
    return made(place)


def sweep_kills(place: Place, scene: Scene, stride: int) -> int:
    """Return how many points were tried."""
    place.clear()
    scene.prepare()
    assert scene.shown() == scene.before
    total = len(count(scene.act, CHANGING))
    assert scene.shown() == scene.after
    points = range(1, total + 1, stride)
    for at in points:
        place.clear()
        scene.prepare()
        assert killed(at, scene.act), f"call {at} of {total} was never made"
        assert_whole(place, scene)
        assert_converges(place, scene)
    return len(points)


def outcome(at: int, code: int, scene: Scene) -> CertrotdError | None:
    """Return what the interrupted work said; any other exception is a defect."""
    try:
        with injected(failing(at, code), tuple(FAILING)):
            scene.act()
    except CertrotdError as e:
        return e
    return None


def assert_honest(said: CertrotdError | None, scene: Scene) -> None:
    """What was said is what is seen."""
    if said is None:
        assert scene.shown() == scene.after
    elif isinstance(said, PublishRefused):
        assert scene.shown() == scene.before
        assert said.path
    else:
        assert isinstance(said, PublishUncertain)
        assert said.path


def sweep_errors(place: Place, scene: Scene, stride: int) -> int:
    """Return how many points were tried."""
    place.clear()
    scene.prepare()
    calls = count(scene.act, tuple(FAILING))
    points = [(at, code) for at, name in enumerate(calls, 1) for code in FAILING[name]][::stride]
    for at, code in points:
        place.clear()
        scene.prepare()
        assert_honest(outcome(at, code, scene), scene)
        assert_whole(place, scene)
        assert_converges(place, scene)
    return len(points)


def test_a_kill_leaves_one_whole_set_and_the_next_run_works(place: Place, scene: Scene) -> None:
    sweep_kills(place, scene, STRIDE)


def test_an_error_leaves_the_old_set_or_is_told(place: Place, scene: Scene) -> None:
    sweep_errors(place, scene, 4 * STRIDE)


@pytest.mark.crash
def test_a_kill_before_any_call(place: Place, scene: Scene) -> None:
    sweep_kills(place, scene, 1)


@pytest.mark.crash
def test_any_plausible_error_in_any_call(place: Place, scene: Scene) -> None:
    sweep_errors(place, scene, 1)
