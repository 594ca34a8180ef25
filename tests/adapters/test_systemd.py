"""Without a systemd: every way ends in a clear message. tests/systemd has the real one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certrotd.adapters.processes import (
    UnitRestart,
    UnitSignal,
    UnitStartedProof,
    program,
    systemd,
)
from certrotd.core.errors import ActivationFailed
from certrotd.core.model import CertificateName, Expectation, ServiceState

SERVICES = (
    UnitRestart("certrotd-test.service", timedelta(seconds=5)),
    UnitSignal("certrotd-test.service", "HUP"),
    UnitSignal("certrotd-test.service", "HUP", "kube-apiserver"),
)
NAME = CertificateName("server")
EXPECTED = {
    NAME: Expectation(
        certificate=NAME,
        fingerprint="f",
        serial="5",
        published_at=datetime(2026, 11, 24, 12, tzinfo=UTC),
    )
}


@pytest.fixture(params=["no systemctl", "no systemd"], autouse=True)
def without(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A machine without systemctl, or with one that reaches no systemd; returns the message."""
    if request.param == "no systemctl":
        monkeypatch.setitem(program.ENVIRONMENT, "PATH", str(tmp_path))
        return "systemctl is not installed; this needs systemd"
    if Path("/run/systemd/system").exists() or not Path("/usr/bin/systemctl").exists():
        pytest.skip("needs systemctl where systemd does not run")
    return "systemd cannot be reached; a container needs /run/systemd and /run/dbus of its host"


@pytest.mark.parametrize("service", SERVICES)
def test_the_state_is_unknown(service: UnitRestart | UnitSignal) -> None:
    assert service.state() is ServiceState.UNKNOWN


@pytest.mark.parametrize("service", SERVICES)
def test_the_start_is_unknown(service: UnitRestart | UnitSignal) -> None:
    assert service.started() is None


@pytest.mark.parametrize("service", SERVICES)
def test_activation_fails_with_the_cause(without: str, service: UnitRestart | UnitSignal) -> None:
    with pytest.raises(ActivationFailed) as failed:
        service.activate()
    assert without in str(failed.value)
    assert "certrotd-test.service" in str(failed.value)


def test_the_proof_does_not_hold_and_tells_the_cause(without: str) -> None:
    evidence = UnitStartedProof("certrotd-test.service").check(EXPECTED)
    assert (evidence.holds, evidence.reachable, evidence.stale) == (False, False, False)
    assert evidence.detail == f"certrotd-test.service: {without}"


def test_timestamps_of_systemd_are_read_to_the_microsecond() -> None:
    at = systemd._moment("Tue 2026-11-24 12:00:00.123456 UTC")
    assert at == datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "n/a"])
def test_a_unit_never_started_has_no_start(text: str) -> None:
    assert systemd._moment(text) is None
