"""activation: auto on real servers: the version is asked, and only what must is restarted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.plane import Node
from tests.e2e.traffic import Traffic
from tests.testbed.controlplane import ControlPlane
from tests.testbed.inventory import (
    ADMIN,
    APISERVER,
    COMPONENTS,
    CONTROLLER_MANAGER,
    ETCD,
    SCHEDULER,
    Domain,
)
from tests.testbed.vaultserver import VaultServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.testbed.inventory import Component

pytestmark = pytest.mark.servers
LEASED = (CONTROLLER_MANAGER, SCHEDULER)
MATERIALS = {
    "etcd-server": "serving",
    "etcd-peer": "peer",
    "etcd-healthcheck-client": "healthcheck-client",
    "apiserver": "serving",
    "apiserver-kubelet-client": "kubelet-client",
    "apiserver-etcd-client": "etcd-client",
    "front-proxy-client": "front-proxy-client",
    "controller-manager-server": "serving",
    "scheduler-server": "serving",
}


def automatic(node: Node) -> None:
    """Let the reload matrix decide for every component, behind the gates of its own kind."""
    authorities = node.inventory.authorities
    api = {
        "url": node.plane.ports.api,
        "ca_file": str(authorities[Domain.KUBERNETES]),
        "client_certificate": ADMIN,
    }
    for component in node.inventory.components:
        if component.name == ADMIN:
            continue
        settings = node.settings["components"][component.name]
        settings["activation"] = {"auto": _auto(node, component, api)}
        settings["proofs"] = [each for each in settings["proofs"] if "started" not in each]
        settings["gates"] = [_gate(node, component.name, api)]
        for name, certificate in settings["certificates"].items():
            if name in MATERIALS:
                certificate["material"] = MATERIALS[name]
    node.settings["components"][APISERVER]["reads"] = [
        {"path": str(authorities[Domain.ETCD]), "material": "etcd-ca"},
        {"path": str(authorities[Domain.KUBERNETES]), "material": "client-ca"},
    ]
    node.write()


def _auto(node: Node, component: Component, api: dict[str, Any]) -> dict[str, Any]:
    ports = node.plane.ports
    urls = {
        APISERVER: f"{ports.api}/version",
        CONTROLLER_MANAGER: f"https://127.0.0.1:{ports.controller_manager}/metrics",
        SCHEDULER: f"https://127.0.0.1:{ports.scheduler}/metrics",
        ETCD: f"https://127.0.0.1:{ports.etcd}/version",
    }
    source = {**api, "url": urls[component.name]}
    if component.name == ETCD:
        source |= {
            "ca_file": str(node.inventory.authorities[Domain.ETCD]),
            "client_certificate": "etcd-healthcheck-client",
        }
    auto: dict[str, Any] = {
        "program": component.name,
        "restart": {"process": {"pidfile": str(component.pidfile), "process": component.name}},
        "version": [{"https": source}],
    }
    if component.name == APISERVER:
        auto["loopback"] = f"127.0.0.1:{ports.apiserver}"
    return auto


def _gate(node: Node, name: str, api: dict[str, Any]) -> dict[str, Any]:
    if name == ETCD:
        return {
            "etcd": {
                "endpoint": f"127.0.0.1:{node.plane.ports.etcd}",
                "ca_file": str(node.inventory.authorities[Domain.ETCD]),
                "client_certificate": "etcd-healthcheck-client",
            }
        }
    if name == APISERVER:
        lists = ["/api/v1/nodes", "/apis/coordination.k8s.io/v1/leases"]
        return {"kube_apiserver": {**api, "resources": lists}}
    return {"lease": {**api, "name": name}}


@pytest.fixture(scope="module", params=["files", "embedded"])
def node(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Node]:
    """A control plane that certrotd bootstrapped, with kubeconfigs of either kind."""
    with VaultServer(tmp_path_factory.mktemp("vault")) as vault:
        embed = request.param == "embedded"
        plane = ControlPlane(tmp_path_factory.mktemp("kubernetes"), embed=embed)
        made = Node(plane, vault)
        outcome = made.run("rotate", "--yes", "-o", "json")
        assert outcome.code == 0, outcome.err
        with plane:
            automatic(made)
            yield made


def decisions(node: Node) -> dict[str, dict[str, Any]]:
    plan = node.run("rotate", "--force", "--dry-run", "-o", "json").report
    return {each["component"]: each["decision"] for each in plan["steps"]}


def test_the_plan_says_what_is_restarted_and_why(node: Node) -> None:
    found = decisions(node)
    restarted = {name for name, each in found.items() if each and each["restart"]}
    assert restarted == (set(LEASED) if node.plane.layout.embed else set())
    for name in COMPONENTS:
        reasons = " ".join(found[name]["reasons"])
        assert f"matrix: {name} " in reasons
        assert "not known" not in reasons
    table = node.run("rotate", "--force", "--dry-run").out
    assert "kube-apiserver: no restart" in table


def test_a_leaf_only_rotation_restarts_only_what_must_and_no_request_fails(node: Node) -> None:
    before, pids = node.served(), {name: node.plane.pid(name) for name in COMPONENTS}
    with Traffic(node.plane) as traffic:
        outcome = node.run("rotate", "--force", "--yes", "-o", "json")
    assert outcome.code == 0, outcome.err
    assert {step["result"] for step in outcome.report["steps"]} == {"done"}
    after = node.served()
    assert not [address for address in before if before[address] == after[address]]
    restarted = {name for name in COMPONENTS if node.plane.pid(name) != pids[name]}
    assert restarted == (set(LEASED) if node.plane.layout.embed else set())
    assert traffic.failures == []
    assert traffic.seen() == traffic.written
    assert "Nothing is due" in node.run("plan").out


def test_a_ca_file_that_is_read_at_the_start_only_makes_one_restart_due(node: Node) -> None:
    pids = {name: node.plane.pid(name) for name in COMPONENTS}
    for domain in (Domain.ETCD, Domain.KUBERNETES):
        path = node.inventory.authorities[domain]
        path.write_bytes(path.read_bytes())
    status = node.run("status").out
    assert "OUTDATED: kube-apiserver: etcd-ca" in status
    assert "client-ca" not in status
    outcome = node.run("rotate", "--yes", "-o", "json")
    assert outcome.code == 0, outcome.err
    # Others may lose their leader election while the API server is away, and end by themselves.
    assert [step["component"] for step in outcome.report["steps"]] == [APISERVER]
    assert node.plane.pid(APISERVER) != pids[APISERVER]
    assert node.plane.pid(ETCD) == pids[ETCD]
    for name in LEASED:
        node.plane.wait_ready(name)
    assert "Nothing is due" in node.run("plan").out


def await_not_ready(plane: ControlPlane) -> None:
    """Wait until the API server notices: it remembers for a second that etcd was well."""
    end = time.monotonic() + 30
    while plane.ready(APISERVER):
        assert time.monotonic() < end
        time.sleep(0.1)


def test_an_api_server_that_is_not_ready_keeps_everything_as_it_is(node: Node) -> None:
    files = node.files()
    node.plane.stop(ETCD)
    try:
        await_not_ready(node.plane)
        outcome = node.run("rotate", "--force", "--yes", "-o", "json")
    finally:
        node.plane.start(ETCD)
        node.plane.wait_ready(APISERVER)
    assert outcome.code == 1
    results = {step["component"]: step["result"] for step in outcome.report["steps"]}
    assert results[APISERVER] == "failed"
    assert "done" not in results.values()
    assert node.files() == files
