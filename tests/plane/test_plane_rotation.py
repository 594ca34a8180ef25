"""A day's rotation: everything is replaced and proven, and only what must is restarted."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.clock import SystemClock
from tests.plane.master import SERVED
from tests.plane.underload import UnderLoad
from tests.plane.units import (
    ADDRESS,
    API_PORT,
    CONTROLLER_MANAGER,
    ETCD,
    KUBERNETES,
    PKI,
    PLANE,
)
from tests.systemd.node import DAEMON
from tests.testbed.throwaway import ThrowawayCA

if TYPE_CHECKING:
    from tests.plane.master import Master

pytestmark = [pytest.mark.systemd, pytest.mark.servers]
COMPONENTS = [*(each.removesuffix(".service") for each in PLANE), "admin"]


def restarted(master: Master, before: dict[str, str]) -> set[str]:
    """The units whose process is another one than before."""
    after = master.processes()
    return {unit for unit in before if after[unit] != before[unit]}


def test_the_daemon_replaces_everything_at_its_slot_and_restarts_nothing(master: Master) -> None:
    before, processes = master.served(), master.processes()
    # A few seconds to the next minute do not suffice to start.
    slot = SystemClock().now() + timedelta(seconds=75)
    master.settings["schedule"]["daily_at"] = f"{slot:%H:%M}"
    master.write_config()
    with UnderLoad(master) as load:
        master.container.systemctl("start", DAEMON)
        assert not [each for each in master.events(DAEMON) if each["event"] == "run_started"]
        master.container.await_journal(DAEMON, "run_finished", limit=150)
    served = master.served()
    assert served == master.published()
    assert not [name for name in SERVED if served[name] == before[name]]
    assert restarted(master, processes) == set()

    events = master.events(DAEMON)
    started = next(each for each in events if each["event"] == "run_started")
    assert started["timestamp"][11:16] == f"{slot:%H:%M}"
    assert started["certificates"] == len(master.certrotd("status")["certificates"])
    steps = {
        each["component"]: each["result"] for each in events if each["event"] == "step_finished"
    }
    assert steps == dict.fromkeys(COMPONENTS, "done")
    assert load.report.failures == load.report.broken == []
    assert load.report.behind == 0
    assert master.certrotd("plan")["steps"] == []


def test_an_embedded_kubeconfig_is_the_one_thing_that_needs_a_restart(master: Master) -> None:
    kubeconfig = {
        "kubeconfig": f"{KUBERNETES}/controller-manager.conf",
        "server": f"https://{ADDRESS}:{API_PORT}",
    }
    settings = master.component("kube-controller-manager")
    settings["certificates"] = {"controller-manager": {"outputs": [kubeconfig]}}
    master.write_config()
    before, processes = master.served(), master.processes()
    outcome = master.rotate("--force")
    assert outcome.results == dict.fromkeys(COMPONENTS, "done")
    assert "kubeconfig-embedded" in outcome.told("component_activated", "kube-controller-manager")
    assert restarted(master, processes) == {CONTROLLER_MANAGER}
    assert not set(before.values()) & set(master.served().values())
    assert "client-key-data" in master.read(f"{KUBERNETES}/controller-manager.conf")

    # Back to files, it is the kubeconfig itself that has changed.
    del settings["certificates"]
    master.write_config()
    processes = master.processes()
    assert master.rotate().results == {"kube-controller-manager": "done"}
    assert restarted(master, processes) == {CONTROLLER_MANAGER}


@pytest.mark.parametrize(
    ("bundle", "unit"),
    [("/etc/etcd/pki/ca.crt", ETCD), (f"{PKI}/ca.crt", CONTROLLER_MANAGER)],
    ids=["etcd's trusted CA", "controller-manager's root CA"],
)
def test_a_changed_ca_file_restarts_who_reads_it_at_the_start_only(
    master: Master, bundle: str, unit: str
) -> None:
    assert master.certrotd("plan")["steps"] == []
    before, processes = master.served(), master.processes()
    both = master.read(bundle) + ThrowawayCA.new("the next one").pem.decode()
    master.container.write(bundle, both)
    name = unit.removesuffix(".service")
    step, *others = master.certrotd("plan")["steps"]
    assert (others, step["component"], step["replace"]) == ([], name, [])
    assert bundle in step["outdated"][0]
    outcome = master.rotate()
    assert (outcome.code, outcome.results) == (0, {name: "done"})
    assert restarted(master, processes) == {unit}
    assert master.served() == before
    assert master.certrotd("plan")["steps"] == []
