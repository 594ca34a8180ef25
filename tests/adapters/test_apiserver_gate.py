"""The kube-apiserver gate against a real one."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.probes.apiserver import ApiserverGate
from tests.adapters.identities import admin_of, kubernetes_ca
from tests.adapters.listeners import Listener, TlsServer, lab_of_today, put
from tests.factories import make_spec
from tests.testbed.controlplane import ControlPlane
from tests.testbed.dayzero import issue_all
from tests.testbed.inventory import APISERVER, CONTROLLER_MANAGER, ETCD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.servers

LISTED = ("/api/v1/nodes", "/apis/coordination.k8s.io/v1/leases")
READY = 60.0
"""How long, in seconds, a server may take to be ready."""
REMEMBERED = 10.0
"""The server asks etcd about once a second, and tells what it heard last in between."""


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """etcd and an API server that answers nobody without a certificate."""
    made = ControlPlane(
        tmp_path_factory.mktemp("strict"),
        extra_arguments={APISERVER: ["--anonymous-auth=false"]},
    )
    issue_all(made.inventory())
    try:
        yield made.start(ETCD, APISERVER)
    finally:
        made.stop()


def gate(plane: ControlPlane, *resources: str) -> ApiserverGate:
    return ApiserverGate(plane.ports.api, kubernetes_ca(plane), admin_of(plane), resources)


def eventually_holds(asked: ApiserverGate) -> None:
    end = time.monotonic() + READY
    while not (seen := asked.check()).holds:
        assert time.monotonic() < end, seen.detail
        time.sleep(0.05)


def test_a_ready_server_that_lists_from_its_cache_holds(plane: ControlPlane) -> None:
    evidence = gate(plane, *LISTED).check()
    assert evidence.holds, evidence.detail
    assert evidence.detail == f"{plane.ports.api}: ready, lists {', '.join(LISTED)}"


def test_readiness_may_be_open_to_everybody_but_lists_are_not(plane: ControlPlane) -> None:
    assert replace(gate(plane), client=None).check().holds
    evidence = replace(gate(plane, *LISTED), client=None).check()
    assert not evidence.holds
    assert f"{LISTED[0]}: 403: the certificate's user may not list it" in evidence.detail
    assert 'User "system:anonymous" cannot list resource "nodes"' in evidence.detail


def test_a_server_closed_to_strangers_asks_for_a_certificate(strict: ControlPlane) -> None:
    assert gate(strict, *LISTED).check().holds
    evidence = replace(gate(strict), client=None).check()
    assert not evidence.holds
    assert "/readyz: 401: the server wants a certificate of a user who may get it" in (
        evidence.detail
    )


def test_a_resource_that_is_not_there_is_told(plane: ControlPlane) -> None:
    evidence = gate(plane, "/api/v1/nods").check()
    assert not evidence.holds
    assert "/api/v1/nods: 404: there is none" in evidence.detail


def test_another_component_is_no_api_server(plane: ControlPlane) -> None:
    other = replace(gate(plane), url=f"https://127.0.0.1:{plane.ports.controller_manager}")
    evidence = other.check()
    assert not evidence.holds
    assert evidence.reachable


def test_a_server_that_says_yes_to_everything_is_none_either(tmp_path: Path) -> None:
    pair = put(lab_of_today().issue(make_spec(tmp_path)))
    with Listener(TlsServer(pair)) as listener:
        evidence = ApiserverGate(f"https://{listener.address}", pair.spec.outputs[2].path).check()
    assert not evidence.holds
    assert evidence.detail.endswith("the answer names no checks; is this kube-apiserver?")


def test_a_lost_etcd_is_told_check_by_check(strict: ControlPlane) -> None:
    strict.stop(ETCD)
    end = time.monotonic() + REMEMBERED
    try:
        while (evidence := gate(strict).check()).holds:
            assert time.monotonic() < end
            time.sleep(0.1)
    finally:
        strict.start(ETCD)
    assert "[-]etcd failed" in evidence.detail
    eventually_holds(gate(strict, *LISTED))


def custom(plane: ControlPlane, plural: str) -> str:
    """Define a resource that nobody has asked for yet, and return its path.

    Its cache is made when it is first asked for, so the first one to ask finds it empty.
    """
    kind = plural.title()
    schema = {"openAPIV3Schema": {"type": "object"}}
    spec = {
        "group": "example.org",
        "scope": "Cluster",
        "names": {"plural": plural, "singular": f"{plural}-one", "kind": kind},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
    }
    body = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.example.org"},
        "spec": spec,
    }
    client = plane.client()
    client.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body)
    end = time.monotonic() + READY
    while kind not in client.kinds("/apis/example.org/v1"):
        assert time.monotonic() < end
        time.sleep(0.1)
    return f"/apis/example.org/v1/{plural}"


def test_a_cache_that_is_not_filled_is_told(strict: ControlPlane) -> None:
    paths = (custom(strict, f"widgets{attempt}") for attempt in range(5))  # one fills quickly
    looks = ((path, gate(strict, path).check()) for path in paths)
    path, evidence = next(each for each in looks if not each[1].holds)
    assert f"{path}: its watch cache is not filled yet (429, " in evidence.detail
    eventually_holds(gate(strict, path))


def test_a_list_without_a_selector_would_hide_that(strict: ControlPlane) -> None:
    paths = [custom(strict, f"gadgets{attempt}") for attempt in range(5)]
    client = strict.client()
    assert {client.status(f"{path}?resourceVersion=0&limit=1") for path in paths} == {200}


def test_a_restart_is_followed_from_refused_to_ready(strict: ControlPlane) -> None:
    asked = gate(strict, *LISTED)
    strict.stop(APISERVER)
    down = asked.check()
    assert not down.holds
    assert not down.reachable
    assert down.detail == f"{strict.ports.api}: connection refused"
    strict.start(APISERVER)
    eventually_holds(asked)


def test_a_ca_that_did_not_sign_the_server_is_told(plane: ControlPlane) -> None:
    other = str(plane.layout.pki / "front-proxy-ca.crt")
    evidence = replace(gate(plane), ca_file=other).check()
    assert not evidence.holds
    assert "its certificate is not trusted" in evidence.detail


def test_files_that_are_missing_are_told(plane: ControlPlane) -> None:
    evidence = replace(gate(plane), ca_file="/none/ca.crt").check()
    assert not evidence.holds
    assert evidence.detail == f"{plane.ports.api}: /none/ca.crt cannot be read: " + os.strerror(2)


def test_all_is_asked_at_once(plane: ControlPlane) -> None:
    os.kill(plane.pid(APISERVER), signal.SIGSTOP)
    try:
        began = time.monotonic()
        evidence = replace(gate(plane, *LISTED), timeout=1.0).check()
        took = time.monotonic() - began
    finally:
        os.kill(plane.pid(APISERVER), signal.SIGCONT)
    assert not evidence.holds
    assert "no answer within 1 s" in evidence.detail
    assert took < 2.5
    eventually_holds(gate(plane, *LISTED))
    plane.wait_ready(CONTROLLER_MANAGER)
