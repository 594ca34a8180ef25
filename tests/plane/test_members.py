"""etcd-events with three members: rotated when all are well, left alone when one is not."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from tests.plane.units import ADDRESS, ETCD_EVENTS, NODE, further_member

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.plane.master import Master

pytestmark = [pytest.mark.systemd, pytest.mark.servers]
NAME = ETCD_EVENTS.removesuffix(".service")
MEMBERS = {"second": 2391, "third": 2393}
PATIENCE = 30.0


def asked(master: Master, *arguments: str) -> str:
    """What etcdctl says as soon as the cluster lets it."""
    deadline = time.monotonic() + PATIENCE
    while not (said := master.etcdctl(ETCD_EVENTS, *arguments, check=False)):
        assert time.monotonic() < deadline, arguments
        time.sleep(0.5)
    return said


@pytest.fixture
def members(master: Master) -> Iterator[list[str]]:
    """The units of two more members, which have joined."""
    cluster, started = f"{NODE}=https://{ADDRESS}:2382", []
    for name, port in MEMBERS.items():
        peer = f"https://{ADDRESS}:{port + 1}"
        asked(master, "member", "add", name, f"--peer-urls={peer}")
        cluster += f",{name}={peer}"
        master.container.add_unit(f"{name}.service", further_member(name, port, cluster))
        master.container.systemctl("start", f"{name}.service")
        started.append(f"{name}.service")
    yield started
    master.container.systemctl("start", *started)
    found = json.loads(asked(master, "member", "list", "--write-out=json", "--hex"))["members"]
    numbers = {each["name"]: each["ID"] for each in found}
    for name in reversed(MEMBERS):
        asked(master, "member", "remove", str(numbers[name]))
        master.container.systemctl("stop", f"{name}.service", check=False)
        master.container.remove_unit(f"{name}.service")


def test_who_is_no_longer_whole_is_left_alone(master: Master, members: list[str]) -> None:
    before = master.served()["etcd-events-server"]
    assert master.rotate("--force", NAME).results == {NAME: "done"}
    whole = master.served()["etcd-events-server"]
    assert whole != before

    second, third = members
    master.container.systemctl("stop", third)
    outcome = master.rotate("--force", NAME)
    assert (outcome.code, outcome.results) == (1, {NAME: "failed"})
    assert "third" in outcome.told("step_failed", NAME)
    assert master.served()["etcd-events-server"] == whole
    assert master.rotate("--force", "--allow-degraded", NAME).results == {NAME: "done"}
    degraded = master.served()["etcd-events-server"]
    assert degraded != whole

    master.container.systemctl("stop", second)
    outcome = master.rotate("--force", "--allow-degraded", NAME)
    assert (outcome.code, outcome.results) == (1, {NAME: "failed"})
    assert master.served()["etcd-events-server"] == master.published()["etcd-events-server"]
    assert master.served()["etcd-events-server"] == degraded
