"""The units as systemd judges them, without starting any."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.systemd.container import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.systemd.container import Container

pytestmark = pytest.mark.systemd

SERVICES = ("certrotd.service", "certrotd-rotate.service")
APPROVER = "certrotd-kubelet-approver.service"
UNITS = (*SERVICES, "certrotd-rotate.timer", APPROVER)
DROP_INS = sorted((REPOSITORY / "systemd" / "drop-ins").iterdir())
LIMIT = "20"
"""In tenths: an exposure of 2.0."""


@pytest.mark.parametrize("unit", [*SERVICES, APPROVER])
def test_the_exposure_of_a_service_is_at_most_2(container: Container, unit: str) -> None:
    judged = container.run(
        "systemd-analyze", "security", "--offline=yes", f"--threshold={LIMIT}",
        f"/usr/lib/systemd/system/{unit}", check=False,
    )  # fmt: skip
    assert judged.returncode == 0, judged.stdout
    assert "Overall exposure level" in judged.stdout


def test_daemon_and_single_run_have_the_same_sandbox() -> None:
    def sandbox(unit: str) -> list[str]:
        lines = (REPOSITORY / "systemd" / unit).read_text().splitlines()
        begin, end = lines.index("KillMode=mixed"), lines.index("SystemCallErrorNumber=EPERM")
        return lines[begin : end + 1]

    daemon, single = map(sandbox, SERVICES)
    assert daemon == single


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_no_fault_in_a_unit(container: Container, unit: str) -> None:
    found = container.run("systemd-analyze", "verify", "--man=no", unit)
    assert (found.stdout, found.stderr) == ("", "")


@pytest.mark.parametrize("drop_in", DROP_INS, ids=lambda each: each.stem)
@pytest.mark.parametrize("unit", SERVICES)
def test_systemd_finds_no_fault_in_a_drop_in(
    container: Container, unit: str, drop_in: Path
) -> None:
    name = f"{unit}.d/{drop_in.name}"
    container.add_unit(name, drop_in.read_text())
    try:
        found = container.run("systemd-analyze", "verify", "--man=no", unit)
        assert (found.stdout, found.stderr) == ("", "")
        assert drop_in.name in container.property(unit, "DropInPaths")
    finally:
        container.remove_unit(name)
