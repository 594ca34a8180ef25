"""What every Service does, the fake one included."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.clock import SystemClock
from certrotd.adapters.cri import ContainerRestart, StaticPodRestart
from certrotd.adapters.processes import (
    CommandService,
    PassiveService,
    PidfileRestart,
    PidfileSignal,
    UnitRestart,
    UnitSignal,
)
from certrotd.core.errors import ActivationFailed
from certrotd.core.model import ServiceState
from tests.fakes.service import FakeService

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from certrotd.ports import Service

LIMIT = timedelta(seconds=20)
POD = "{kind: Pod, metadata: {name: etcd, namespace: kube-system}, spec: {containers: [{name: x}]}}"
TRUE, FALSE = ("/bin/true",), ("/bin/false",)


@dataclass(frozen=True)
class Cases:
    """One kind of service: up, down, and one that cannot be told; None where it has none."""

    up: Service
    down: Service | None
    failing: Service | None


@pytest.fixture
def running(tmp_path: Path) -> Iterator[str]:
    """The pidfile of a process that ignores SIGWINCH."""
    with subprocess.Popen(("/bin/sleep", "1000")) as process:
        pidfile = tmp_path / "up.pid"
        pidfile.write_text(str(process.pid))
        yield str(pidfile)
        process.kill()


KINDS = (
    "fake", "passive", "pidfile", "command", "unit restart", "unit signal", "static pod",
    "container", "pidfile restart",
)  # fmt: skip


def static_pod(manifest: Path, socket: str) -> StaticPodRestart:
    return StaticPodRestart(pod="etcd", manifest=str(manifest), timeout=LIMIT, endpoint=socket)


@pytest.fixture(params=KINDS)
def cases(request: pytest.FixtureRequest, tmp_path: Path, running: str) -> Cases:
    failing = FakeService()
    failing.failures = 1
    absent = str(tmp_path / "absent.pid")
    no_socket, manifest = str(tmp_path / "absent.sock"), tmp_path / "etcd.yaml"
    manifest.write_text(POD)
    no_unit = "certrotd-no-such-unit.service"
    made = {
        "fake": Cases(FakeService(), FakeService(ServiceState.STOPPED), failing),
        "passive": Cases(PassiveService(), None, None),
        "pidfile": Cases(
            PidfileSignal(running, "WINCH"),
            PidfileSignal(absent, "WINCH"),
            PidfileSignal(absent, "WINCH"),
        ),
        "command": Cases(
            CommandService(TRUE, LIMIT, TRUE),
            CommandService(TRUE, LIMIT, FALSE),
            CommandService(FALSE, LIMIT),
        ),
        # What is up needs a supervisor: test_pidfile_restart.
        "pidfile restart": Cases(
            PassiveService(), PidfileRestart(absent, LIMIT), PidfileRestart(absent, LIMIT)
        ),
        # A unit that is up needs a systemd: tests/systemd.
        "unit restart": Cases(PassiveService(), None, UnitRestart(no_unit, LIMIT)),
        "unit signal": Cases(PassiveService(), None, UnitSignal(no_unit, "HUP")),
        # What is up needs a containerd: test_cri.
        "static pod": Cases(
            PassiveService(),
            static_pod(tmp_path / "absent.yaml", no_socket),
            static_pod(manifest, no_socket),
        ),
        "container": Cases(
            PassiveService(),
            None,
            ContainerRestart(labels={"name": "x"}, timeout=LIMIT, endpoint=no_socket),
        ),
    }
    return made[request.param]


def test_a_service_that_is_up_never_says_stopped(cases: Cases) -> None:
    assert cases.up.state() is not ServiceState.STOPPED


def test_a_service_that_is_down_says_stopped(cases: Cases) -> None:
    if cases.down is not None:
        assert cases.down.state() is ServiceState.STOPPED


def test_activation_can_be_repeated(cases: Cases) -> None:
    cases.up.activate()
    cases.up.activate()


def test_what_cannot_be_told_raises_activation_failed_with_a_message(cases: Cases) -> None:
    if cases.failing is not None:
        with pytest.raises(ActivationFailed) as failed:
            cases.failing.activate()
        assert str(failed.value)


def test_asking_for_the_state_never_raises(cases: Cases) -> None:
    for service in (cases.up, cases.down, cases.failing):
        if service is not None:
            assert service.state() in ServiceState


def test_a_start_is_in_the_past_and_asking_for_it_never_raises(cases: Cases) -> None:
    for service in (cases.up, cases.down, cases.failing):
        if service is not None and (at := service.started()):
            assert at.tzinfo
            assert at <= SystemClock().now()


def test_what_is_down_has_no_start(cases: Cases) -> None:
    if cases.down is not None:
        assert cases.down.started() is None
