"""A process restarted by its pidfile: ended here, started by a real supervisor."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.clock import SystemClock
from certrotd.adapters.processes import PidfileRestart, proc
from certrotd.core.errors import ActivationFailed
from certrotd.core.model import ServiceState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SUPERVISOR = """
import subprocess, sys, time
pidfile, delay, *command = sys.argv[1:]
for _ in range(20):
    process = subprocess.Popen(command)
    with open(pidfile, "w") as file:
        file.write(f"{process.pid}\\n")
    process.wait()
    time.sleep(float(delay))
"""
STEADY = ("/bin/sleep", "1000")


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Have a command kept by a supervisor that writes a pidfile; return the pidfile."""
    started: list[subprocess.Popen[bytes]] = []
    pidfile = tmp_path / "component.pid"

    def start(*command: str, delay: float = 0.1) -> Path:
        argv = (sys.executable, "-c", SUPERVISOR, str(pidfile), str(delay), *command)
        started.append(subprocess.Popen(argv, start_new_session=True))
        wait_until(lambda: pidfile.exists() and pidfile.read_text().endswith("\n"))
        return pidfile

    yield start
    for each in started:
        os.killpg(each.pid, signal.SIGKILL)
        each.wait()


def restart(pidfile: Path, seconds: float = 20, name: str | None = None) -> PidfileRestart:
    return PidfileRestart(str(pidfile), timedelta(seconds=seconds), process_name=name)


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def failure(service: PidfileRestart) -> str:
    with pytest.raises(ActivationFailed) as failed:
        service.activate()
    assert service.pidfile in str(failed.value)
    return str(failed.value)


def test_its_supervisor_starts_another(supervise: Callable[..., Path]) -> None:
    pidfile = supervise(*STEADY)
    service = restart(pidfile)
    assert service.state() is ServiceState.RUNNING
    old, before = int(pidfile.read_text()), SystemClock().now()
    assert (first := service.started())
    assert first < before
    service.activate()
    assert int(pidfile.read_text()) != old
    assert (second := service.started())
    assert before - proc.TICK < second


def test_a_process_that_dies_at_once_is_noticed_and_can_be_healed(
    supervise: Callable[..., Path], tmp_path: Path
) -> None:
    well, up = tmp_path / "well", tmp_path / "up"
    well.touch()
    script = f"sleep 0.3; test -e {well} && touch {up} && exec sleep 1000"
    pidfile = supervise("/bin/sh", "-c", script, delay=0.3)
    wait_until(up.exists)
    well.unlink()
    assert "(sh) ended at once" in failure(restart(pidfile))
    assert restart(pidfile).state() is ServiceState.RUNNING
    up.unlink()
    well.touch()
    wait_until(up.exists)
    restart(pidfile).activate()


def test_one_that_ended_and_left_its_pidfile_is_waited_for(supervise: Callable[..., Path]) -> None:
    pidfile = supervise(*STEADY, delay=1)
    old = int(pidfile.read_text())
    os.kill(old, signal.SIGKILL)
    service = restart(pidfile)
    # It should be up: a rollback must not leave it.
    assert service.state() is ServiceState.RUNNING
    service.activate()
    assert int(pidfile.read_text()) != old


def test_without_a_supervisor_it_stays_down_and_that_is_told(tmp_path: Path) -> None:
    pidfile = tmp_path / "component.pid"
    with subprocess.Popen(STEADY) as process:
        pidfile.write_text(str(process.pid))
        reaper = threading.Thread(target=process.wait)
        reaper.start()
        told = failure(restart(pidfile, seconds=0.5))
        reaper.join()
    assert "its supervisor did not start another process within 0.5 s" in told


def test_a_process_that_does_not_end_is_told(
    supervise: Callable[..., Path], tmp_path: Path
) -> None:
    deaf = tmp_path / "deaf"
    script = f"trap '' TERM; touch {deaf}; while :; do sleep 0.05; done"
    pidfile = supervise("/bin/sh", "-c", script)
    wait_until(deaf.exists)
    told = failure(restart(pidfile, seconds=0.5))
    assert "(sh) did not end within 0.5 s" in told


def test_the_signal_may_be_another(supervise: Callable[..., Path], tmp_path: Path) -> None:
    deaf = tmp_path / "deaf"
    script = f"trap '' TERM; trap exit INT; touch {deaf}; while :; do sleep 0.05; done"
    # Who was started in the background ignores INT, and a shell cannot trap what it ignores.
    pidfile = supervise("/usr/bin/env", "--default-signal=INT", "/bin/sh", "-c", script)
    wait_until(deaf.exists)
    old = int(pidfile.read_text())
    PidfileRestart(str(pidfile), timedelta(seconds=20), "INT", "sh").activate()
    assert int(pidfile.read_text()) != old


def test_only_a_process_of_the_right_name_is_ended(supervise: Callable[..., Path]) -> None:
    pidfile = supervise(*STEADY)
    old = int(pidfile.read_text())
    other = restart(pidfile, name="kube-apiserver")
    assert other.state() is ServiceState.UNKNOWN
    assert "is called sleep, not kube-apiserver" in failure(other)
    assert int(pidfile.read_text()) == old
    assert proc.look_up(old)


def test_a_successor_of_another_name_is_none(
    supervise: Callable[..., Path], tmp_path: Path
) -> None:
    first = tmp_path / "first"
    script = f"test -e {first} || {{ touch {first}; exec sleep 1000; }}; exec tail -f /dev/null"
    pidfile = supervise("/bin/sh", "-c", script)
    wait_until(lambda: (now := proc.look_up(int(pidfile.read_text()))) and now.is_named("sleep"))
    told = failure(restart(pidfile, seconds=2, name="sleep"))
    assert "did not start another process within 2 s" in told
    assert "is called tail, not sleep" in told


def test_without_a_pidfile_it_is_down(tmp_path: Path) -> None:
    service = restart(tmp_path / "no.pid")
    assert service.state() is ServiceState.STOPPED
    assert service.started() is None
    assert "there is no such file" in failure(service)
