"""From an empty machine to a control plane, with certrotd's shipped units alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.plane.master import SERVED
from tests.plane.underload import UnderLoad
from tests.plane.units import CONTROLLER_MANAGER, ETCD_EVENTS, SCHEDULER

if TYPE_CHECKING:
    from tests.plane.master import Master

pytestmark = [pytest.mark.systemd, pytest.mark.servers]


def test_what_was_bootstrapped_is_served_and_nothing_is_due(master: Master) -> None:
    certificates = master.certrotd("status")["certificates"]
    assert {each["certificate"] for each in certificates if each["served"]} >= set(SERVED)
    assert not [each for each in certificates if each["reasons"]]
    assert master.served() == master.published()


def test_leaders_are_elected_and_events_have_an_etcd_of_their_own(master: Master) -> None:
    with master.container.network():
        client = master.client()
        for unit in (CONTROLLER_MANAGER, SCHEDULER):
            name = unit.removesuffix(".service")
            path = f"/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/{name}"
            assert client.request("GET", path)["spec"]["holderIdentity"].startswith("master-1_")
    keys = master.etcdctl(ETCD_EVENTS, "get", "--prefix", "/", "--keys-only").split()
    assert keys
    assert all(each.startswith("/registry/events/") for each in keys)


def test_the_load_notices_a_restart_of_the_api_server_and_nothing_else(master: Master) -> None:
    with UnderLoad(master) as quiet:
        for _ in range(4):
            master.certrotd("status")
    assert quiet.report.failures == quiet.report.broken == []
    assert quiet.report.behind == 0
    assert quiet.report.watch_events >= quiet.report.writes / 2
    with UnderLoad(master) as restarted:
        master.container.systemctl("restart", "kube-apiserver.service")
        master.await_ready()
    # Who is told to come again while the server shuts down may find it back: nothing failed then.
    assert restarted.report.failed + restarted.report.asked_again > 0
    assert restarted.report.breaks > 0
    assert restarted.report.behind == 0
