"""The clock, fake and real."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.clock import SystemClock
from tests.fakes.clock import START, FakeClock

if TYPE_CHECKING:
    from certrotd.ports import Clock


@pytest.fixture(params=[SystemClock, FakeClock])
def clock(request: pytest.FixtureRequest) -> Clock:
    made: Clock = request.param()
    return made


def test_now_is_aware_and_in_utc(clock: Clock) -> None:
    assert clock.now().tzinfo is UTC


def test_sleep_lets_at_least_so_much_time_pass(clock: Clock) -> None:
    before, began = clock.monotonic(), clock.now()
    clock.sleep(1 / 64)  # exact in binary
    assert clock.monotonic() - before >= 1 / 64
    assert clock.now() - began >= timedelta(seconds=0.015)  # the wall clock may be slewed


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_sleeping_no_time_returns(clock: Clock, seconds: float) -> None:
    before = clock.monotonic()
    clock.sleep(seconds)
    assert clock.monotonic() >= before


def test_the_system_clock_tells_the_time() -> None:
    before = time.time()
    assert before <= SystemClock().now().timestamp() <= time.time()


def test_a_stop_ends_the_sleep_it_falls_into() -> None:
    stop = threading.Event()
    sleeper = threading.Thread(target=SystemClock(stop).sleep, args=(3600,))
    sleeper.start()
    stop.set()
    sleeper.join(timeout=10)
    assert not sleeper.is_alive()


def test_a_stop_of_before_does_not_make_a_busy_loop() -> None:
    stop = threading.Event()
    stop.set()
    clock = SystemClock(stop)
    before = clock.monotonic()
    clock.sleep(0.02)
    assert clock.monotonic() - before >= 0.02


def test_the_fake_clock_stands_still_until_told() -> None:
    clock = FakeClock()
    assert clock.now() == clock.now() == START
    clock.advance(timedelta(days=1))
    assert clock.now() == START + timedelta(days=1)


def test_setting_the_fake_wall_clock_leaves_the_other_alone() -> None:
    clock = FakeClock()
    before = clock.monotonic()
    clock.set(datetime(2030, 1, 1, tzinfo=UTC))
    assert clock.now().year == 2030
    assert clock.monotonic() == before
