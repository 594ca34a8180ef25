"""Pidfiles, signals and start times, with real processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.clock import SystemClock
from certrotd.adapters.processes import PassiveService, PidfileSignal, PidfileStartedProof, proc
from certrotd.core.errors import ActivationFailed
from certrotd.core.model import CertificateName, Expectation, ServiceState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

LISTENING = """
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGUSR1})
print("ready", flush=True)
print(signal.sigwait({signal.SIGHUP, signal.SIGUSR1}).name, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    """A process that says `ready`, and then which signal it got."""
    command = (sys.executable, "-c", LISTENING)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as started:
        try:
            assert said(started) == "ready"
            yield started
        finally:
            started.kill()


@pytest.fixture
def pidfile(process: subprocess.Popen[str], tmp_path: Path) -> Path:
    path = tmp_path / "component.pid"
    path.write_text(f"{process.pid}\n")
    return path


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def end(process: subprocess.Popen[str]) -> None:
    """End it, but leave its exit status unread: a zombie."""
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def published(at: datetime) -> dict[CertificateName, Expectation]:
    name = CertificateName("server")
    return {
        name: Expectation(certificate=name, fingerprint="f", serial="5", published_at=at),
    }


def started(process: subprocess.Popen[str]) -> datetime:
    found = proc.look_up(process.pid)
    assert found
    return found.started


@pytest.mark.parametrize("name", ["HUP", "USR1"])
def test_the_signal_arrives(process: subprocess.Popen[str], pidfile: Path, name: str) -> None:
    service = PidfileSignal(str(pidfile), name)
    assert service.state() is ServiceState.RUNNING
    service.activate()
    assert said(process) == f"SIG{name}"


def test_the_pidfile_is_read_each_time(process: subprocess.Popen[str], tmp_path: Path) -> None:
    pidfile = tmp_path / "late.pid"
    service = PidfileSignal(str(pidfile), "HUP")
    assert service.state() is ServiceState.STOPPED
    pidfile.write_text(str(process.pid))
    assert service.state() is ServiceState.RUNNING


def test_only_a_process_of_the_right_name_is_told(
    process: subprocess.Popen[str], pidfile: Path
) -> None:
    running = proc.look_up(process.pid)
    assert running
    PidfileSignal(str(pidfile), "HUP", running.name).activate()
    assert said(process) == "SIGHUP"
    other = PidfileSignal(str(pidfile), "HUP", "kube-apiserver")
    # Not STOPPED: a name that is mistyped must not look like a component that is down.
    assert other.state() is ServiceState.UNKNOWN
    with pytest.raises(ActivationFailed, match=f"is called {running.name}, not kube-apiserver"):
        other.activate()


def test_a_missing_pidfile_means_stopped(tmp_path: Path) -> None:
    service = PidfileSignal(str(tmp_path / "no.pid"), "HUP")
    assert service.state() is ServiceState.STOPPED
    with pytest.raises(ActivationFailed, match="there is no such file"):
        service.activate()


def test_a_process_that_ended_means_stopped_even_as_a_zombie(
    process: subprocess.Popen[str], pidfile: Path
) -> None:
    end(process)
    service = PidfileSignal(str(pidfile), "HUP")
    assert service.state() is ServiceState.STOPPED
    with pytest.raises(ActivationFailed, match="ended just now"):
        service.activate()
    process.wait()
    assert service.state() is ServiceState.STOPPED
    with pytest.raises(ActivationFailed, match="ended just now"):
        service.activate()


def test_a_pidfile_older_than_its_process_is_not_believed(pidfile: Path) -> None:
    os.utime(pidfile, (1_600_000_000, 1_600_000_000))
    service = PidfileSignal(str(pidfile), "HUP")
    assert service.state() is ServiceState.UNKNOWN
    with pytest.raises(ActivationFailed, match="after the pidfile was written at 2020-09-13"):
        service.activate()


@pytest.mark.parametrize("content", ["", "no number", "-1", "0", "1", "99999999999999", "12 13"])
def test_rubbish_in_a_pidfile_is_told(tmp_path: Path, content: str) -> None:
    pidfile = tmp_path / "odd.pid"
    pidfile.write_text(content)
    service = PidfileSignal(str(pidfile), "HUP")
    assert service.state() is ServiceState.UNKNOWN
    with pytest.raises(ActivationFailed, match="does not hold a process id") as failed:
        service.activate()
    assert str(pidfile) in str(failed.value)
    assert failed.value.hint


def test_a_pidfile_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    service = PidfileSignal(str(tmp_path), "HUP")
    assert service.state() is ServiceState.UNKNOWN
    with pytest.raises(ActivationFailed, match="it cannot be read: Is a directory"):
        service.activate()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to be another user for a moment")
def test_another_users_process_is_told_as_not_permitted() -> None:
    with (
        subprocess.Popen(("/bin/sleep", "1000"), user=65534) as other,
        tempfile.NamedTemporaryFile("w") as pidfile,  # tmp_path is closed to other users
    ):
        pidfile.write(str(other.pid))
        pidfile.flush()
        Path(pidfile.name).chmod(0o644)
        try:
            os.seteuid(65533)
            with pytest.raises(ActivationFailed, match="not permitted"):
                PidfileSignal(pidfile.name, "HUP").activate()
        finally:
            os.seteuid(0)
            other.kill()


def test_names_may_hold_parentheses_and_blanks(tmp_path: Path) -> None:
    program = tmp_path / "a) S (b"
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen((program, "1000")) as running:
        try:
            found = proc.look_up(running.pid)
        finally:
            running.kill()
    assert found
    assert found.name == "a) S (b"
    assert found.is_named("a) S (b")


def test_long_names_match_as_far_as_the_kernel_keeps_them(tmp_path: Path) -> None:
    name = "kube-controller-manager"
    program = tmp_path / name
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen((program, "1000")) as running:
        try:
            found = proc.look_up(running.pid)
        finally:
            running.kill()
    assert found
    assert found.name == "kube-controller"
    assert found.is_named(name)


def test_the_start_is_known_to_the_tick() -> None:
    before = SystemClock().now()
    with subprocess.Popen(("/bin/sleep", "1000")) as running:
        after = SystemClock().now()
        found = proc.look_up(running.pid)
        running.kill()
    assert found
    assert before - proc.TICK <= found.started <= after


def test_a_service_knows_the_start_of_the_process_that_is_surely_its_own(
    process: subprocess.Popen[str], pidfile: Path
) -> None:
    told = PidfileSignal(str(pidfile), "HUP").started()
    assert told
    assert abs(told - started(process)) < proc.TICK  # two clocks are read anew each time
    assert PidfileSignal(str(pidfile), "HUP", "kube-apiserver").started() is None
    end(process)
    assert PidfileSignal(str(pidfile), "HUP").started() is None


def test_the_processes_of_a_control_group_are_found_by_name() -> None:
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    groups = [line.split(":", 2)[2] for line in lines if line.split(":")[1] in ("", "name=systemd")]
    if not groups:
        pytest.skip("there is no control group of systemd's kind here")
    own = proc.look_up(os.getpid())
    assert own
    assert os.getpid() in proc.in_control_group(groups[0], own.name)
    assert proc.in_control_group("/no/such/group", own.name) == ()
    assert proc.in_control_group(groups[0], "no-such-process") == ()


def test_a_process_started_after_the_publication_is_proof(
    process: subprocess.Popen[str], pidfile: Path
) -> None:
    earlier = published(started(process) - timedelta(seconds=1))
    evidence = PidfileStartedProof(str(pidfile)).check(earlier)
    assert evidence.holds
    assert f"process {process.pid}" in evidence.detail


def test_a_process_started_before_the_publication_is_stale(
    process: subprocess.Popen[str], pidfile: Path
) -> None:
    later = published(started(process) + timedelta(seconds=1))
    evidence = PidfileStartedProof(str(pidfile)).check(later)
    assert not evidence.holds
    assert evidence.stale
    assert "before the publication at" in evidence.detail


def test_the_latest_publication_counts(process: subprocess.Popen[str], pidfile: Path) -> None:
    at = started(process)
    both = published(at - timedelta(seconds=1))
    (early,) = both.values()
    name = CertificateName("peer")
    both[name] = Expectation(
        certificate=name,
        fingerprint=early.fingerprint,
        serial=early.serial,
        published_at=at + timedelta(seconds=1),
    )
    assert PidfileStartedProof(str(pidfile)).check(both).stale


def test_within_one_tick_nothing_is_claimed(process: subprocess.Popen[str], pidfile: Path) -> None:
    same = published(started(process) + proc.TICK / 2)
    evidence = PidfileStartedProof(str(pidfile)).check(same)
    assert not evidence.holds
    assert not evidence.stale
    assert "too close" in evidence.detail


def test_no_process_is_no_proof(
    process: subprocess.Popen[str], pidfile: Path, tmp_path: Path
) -> None:
    expected = published(SystemClock().now() - timedelta(days=1))
    missing = PidfileStartedProof(str(tmp_path / "no.pid")).check(expected)
    assert (missing.holds, missing.reachable) == (False, False)
    end(process)
    ended = PidfileStartedProof(str(pidfile)).check(expected)
    assert (ended.holds, ended.reachable) == (False, False)


def test_a_doubtful_pidfile_proves_nothing(pidfile: Path) -> None:
    expected = published(SystemClock().now() - timedelta(days=1))
    pidfile.write_text("rubbish")
    evidence = PidfileStartedProof(str(pidfile)).check(expected)
    assert (evidence.holds, evidence.stale) == (False, False)
    assert "does not hold a process id" in evidence.detail


def test_without_a_publication_there_is_nothing_to_prove(pidfile: Path) -> None:
    evidence = PidfileStartedProof(str(pidfile)).check({})
    assert (evidence.holds, evidence.stale) == (False, False)


def test_who_looks_after_itself_is_left_alone() -> None:
    service = PassiveService()
    service.activate()
    assert service.state() is ServiceState.UNKNOWN
