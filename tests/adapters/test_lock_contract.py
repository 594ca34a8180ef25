"""What every lock does, the fake one included; then what takes two processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.clock import SystemClock
from certrotd.adapters.flock import FileLock
from certrotd.core.errors import LockHeld, PublishRefused
from tests.fakes.clock import FakeClock
from tests.fakes.lock import FakeLock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from certrotd.ports import Lock

HOLDER = """
import sys
from certrotd.adapters.clock import SystemClock
from certrotd.adapters.flock import FileLock
with FileLock(sys.argv[1], clock=SystemClock()).hold("a long rotation"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "lock"


@pytest.fixture(params=["fake", "file"])
def lock(request: pytest.FixtureRequest, path: Path) -> Lock:
    return FakeLock() if request.param == "fake" else FileLock(str(path), clock=FakeClock())


@contextmanager
def another_process(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.kill()


def test_it_can_be_held_again_after_it_was_let_go(lock: Lock) -> None:
    for _ in range(2):
        with lock.hold("rotate"):
            pass


def test_it_is_let_go_when_the_work_fails(lock: Lock) -> None:
    with pytest.raises(ZeroDivisionError), lock.hold("rotate"):
        raise ZeroDivisionError
    with lock.hold("rotate"):
        pass


def test_a_second_holder_is_refused_and_told_why(lock: Lock) -> None:
    with lock.hold("rotate"), pytest.raises(LockHeld) as caught, lock.hold("rollback"):
        pass
    assert "rotate" in caught.value.holder
    assert caught.value.holder in str(caught.value)


def test_the_holder_is_named_with_process_purpose_time_and_host(path: Path) -> None:
    with (
        another_process(path) as process,
        ExitStack() as stack,
        pytest.raises(LockHeld) as caught,
    ):
        stack.enter_context(FileLock(str(path), clock=SystemClock()).hold("rotate"))
    for part in (f"process {process.pid}", "(a long rotation, since 2", socket.gethostname()):
        assert part in str(caught.value)
    assert caught.value.hint


def test_a_dead_process_does_not_block(path: Path) -> None:
    with another_process(path) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with FileLock(str(path), clock=FakeClock()).hold("rotate"):
            pass


def test_it_waits_as_long_as_it_was_told_and_no_longer(path: Path) -> None:
    clock = FakeClock()
    with another_process(path), ExitStack() as stack, pytest.raises(LockHeld):
        stack.enter_context(FileLock(str(path), wait=5.0, clock=clock).hold("rotate"))
    assert 5.0 <= sum(clock.slept) < 5.2


def test_it_is_had_as_soon_as_the_other_lets_go(path: Path) -> None:
    class Patient(FakeClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            if len(self.slept) == 3:
                other.kill()
                other.wait()

    with (
        another_process(path) as other,
        FileLock(str(path), wait=60.0, clock=Patient()).hold("rotate"),
    ):
        assert path.read_text().startswith(f"{os.getpid()} rotate ")


def test_it_gives_up_when_its_process_is_asked_to_stop(path: Path) -> None:
    class Hasty(FakeClock):
        def sleep(self, seconds: float) -> None:
            self.slept.append(seconds)

    clock = Hasty()
    with another_process(path), ExitStack() as stack, pytest.raises(LockHeld):
        stack.enter_context(FileLock(str(path), wait=60.0, clock=clock).hold("rotate"))
    assert len(clock.slept) == 1


def test_only_its_owner_can_read_it(path: Path) -> None:
    with FileLock(str(path), clock=FakeClock()).hold("rotate"):
        assert path.stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_made_is_refused(path: Path) -> None:
    path.parent.write_text("in the way")
    with (
        ExitStack() as stack,
        pytest.raises(PublishRefused, match="state"),
    ):
        stack.enter_context(FileLock(str(path), clock=FakeClock()).hold("rotate"))
