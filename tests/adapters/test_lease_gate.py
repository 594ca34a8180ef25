"""The Lease gate against a real controller-manager and scheduler."""

from __future__ import annotations

import os
import signal
import socket
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.probes.lease import LeaseGate
from tests.adapters.identities import admin_of, kubernetes_ca, pair_at
from tests.testbed.inventory import CONTROLLER_MANAGER, SCHEDULER

if TYPE_CHECKING:
    from tests.testbed.controlplane import ControlPlane

pytestmark = pytest.mark.servers

FAILOVER = 30.0
"""How long, in seconds, a new holder may take: 15 s until the old Lease ends, and the start."""


def gate(plane: ControlPlane, name: str = CONTROLLER_MANAGER, who: str = "admin") -> LeaseGate:
    return LeaseGate(plane.ports.api, name, kubernetes_ca(plane), admin_of(plane, who))


@pytest.mark.parametrize("name", [CONTROLLER_MANAGER, SCHEDULER])
def test_a_holder_that_renews_is_seen_within_one_period(plane: ControlPlane, name: str) -> None:
    began = time.monotonic()
    evidence = gate(plane, name).check()
    assert evidence.holds, evidence.detail
    assert evidence.leads
    assert evidence.detail.startswith(f"Lease kube-system/{name}: {socket.gethostname()}_")
    assert time.monotonic() - began < 4


@pytest.mark.parametrize(
    ("name", "who"), [(CONTROLLER_MANAGER, "controller-manager"), (SCHEDULER, "scheduler")]
)
def test_the_component_s_own_user_may_look(plane: ControlPlane, name: str, who: str) -> None:
    evidence = gate(plane, name, who).check()
    assert evidence.holds, evidence.detail


@pytest.mark.parametrize(
    ("identity", "leads"),
    [(socket.gethostname(), True), (socket.gethostname()[:-1], False), ("another", False)],
)
def test_the_leader_is_known_by_its_whole_name(
    plane: ControlPlane, identity: str, *, leads: bool
) -> None:
    evidence = replace(gate(plane), identity=identity).check()
    assert evidence.holds
    assert evidence.leads is leads


def test_a_holder_that_hangs_does_not_hold(plane: ControlPlane) -> None:
    assert gate(plane).check().holds
    os.kill(plane.pid(CONTROLLER_MANAGER), signal.SIGSTOP)
    try:
        began = time.monotonic()
        evidence = gate(plane).check()
        took = time.monotonic() - began
    finally:
        os.kill(plane.pid(CONTROLLER_MANAGER), signal.SIGCONT)
    assert not evidence.holds
    assert not evidence.leads
    assert evidence.reachable
    assert evidence.detail.endswith(" has not renewed it for 5 s")
    assert took < 7


def test_a_stopped_controller_manager_does_not_hold_until_the_next_has_the_lease(
    plane: ControlPlane,
) -> None:
    before = gate(plane).check().detail
    plane.stop(CONTROLLER_MANAGER)
    stopped = gate(plane).check()
    plane.start(CONTROLLER_MANAGER)
    assert not stopped.holds
    end = time.monotonic() + FAILOVER
    while not (seen := gate(plane).check()).holds:
        assert time.monotonic() < end, seen.detail
    assert seen.leads
    assert seen.detail != before


def test_a_user_who_may_not_look_is_told(plane: ControlPlane) -> None:
    pair = plane.inventory().certificate("apiserver-kubelet-client")
    evidence = replace(gate(plane), client=pair_at(pair.certificate, pair.key)).check()
    assert not evidence.holds
    assert "403: the certificate's user may not get it" in evidence.detail
    assert 'User "kube-apiserver-kubelet-client" cannot get resource "leases"' in evidence.detail


def test_a_lease_that_is_not_there_is_told(plane: ControlPlane) -> None:
    evidence = replace(gate(plane), namespace="default").check()
    assert not evidence.holds
    assert "Lease default/kube-controller-manager: 404: there is none" in evidence.detail


def test_a_lease_that_nobody_holds_does_not_hold(plane: ControlPlane) -> None:
    path = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
    body = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "free"},
        "spec": {"holderIdentity": ""},
    }
    plane.client().request("POST", path, body)
    evidence = replace(gate(plane), name="free", namespace="default").check()
    assert not evidence.holds
    assert evidence.detail == "Lease default/free: nobody holds it"


def test_another_server_has_no_leases(plane: ControlPlane) -> None:
    evidence = replace(gate(plane), url=f"https://127.0.0.1:{plane.ports.scheduler}").check()
    assert not evidence.holds
    assert "404" in evidence.detail


def test_a_holder_cannot_write_on_a_terminal(plane: ControlPlane) -> None:
    path = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
    body = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "hostile"},
        "spec": {"holderIdentity": "\x1b[2Jgone\nsecond line"},
    }
    plane.client().request("POST", path, body)
    evidence = replace(gate(plane), name="hostile", namespace="default", timeout=1.0).check()
    assert not evidence.holds
    assert evidence.detail == (
        "Lease default/hostile: [2Jgone second line has not renewed it for 1 s"
    )
