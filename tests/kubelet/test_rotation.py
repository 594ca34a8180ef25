"""A kubeadm master, configured by `config init`, rotated from Vault in each of the ways."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING

import pytest
import yaml

from certrotd.adapters.cri.manifest import ANNOTATION
from tests.kubelet.master import Master, Outcome
from tests.kubelet.outage import Outages, table
from tests.testbed.inventory import APISERVER, COMPONENTS, CONTROLLER_MANAGER, ETCD, SCHEDULER
from tests.testbed.relay import Relay
from tests.testbed.staticpods import StaticPodNode, unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.testbed.containerd import Container
    from tests.testbed.vaultserver import VaultServer

pytestmark = pytest.mark.kubelet
EMBEDDED = {CONTROLLER_MANAGER: "controller-manager", SCHEDULER: "scheduler"}
"""Components whose kubeconfig is mounted as a single file."""
SERVED = ("kube-apiserver", "etcd", "etcd-peer")
"""Ports that serve what certrotd keeps; the others' certificates live in memory."""
seen: dict[str, Outages] = {}


@pytest.fixture
def fresh_master(
    tmp_path_factory: pytest.TempPathFactory, vault_server: VaultServer
) -> Iterator[Master]:
    """On a node of its own: nothing was restarted on it yet, so the kubelet has no back-off."""
    if reason := unavailable():
        pytest.skip(reason)
    with (
        StaticPodNode(tmp_path_factory.mktemp("fresh")) as node,
        Relay(node.namespaces, vault_server.port),
    ):
        yield Master(node, vault_server, "kubelet-fresh")


@pytest.fixture(scope="module", autouse=True)
def report() -> Iterator[None]:
    yield
    if seen:
        print(f"\n\nlongest time without a good answer:\n{table(seen)}")


def containers(node: StaticPodNode) -> dict[str, Container]:
    found = {name: node.container(name) for name in COMPONENTS}
    return {name: container for name, container in found.items() if container}


def served(node: StaticPodNode) -> set[str]:
    return {node.served(port) for port in SERVED}


def new_serials(outcome: Outcome) -> set[str]:
    changes = [each for step in outcome.report["steps"] for each in step["changes"]]
    assert len(changes) == 11
    return {each["new_serial"] for each in changes}


def rotated(master: Master, way: str) -> Outcome:
    """Rotate everything; every proof and gate held, and everybody's identity is accepted."""
    before = served(master.node)
    with Outages(master.node) as seen[way]:
        outcome = master.rotate()
    assert outcome.code == 0, outcome.out + outcome.err
    assert {step["result"] for step in outcome.report["steps"]} == {"done"}
    now = served(master.node)
    assert len(now) == len(SERVED)
    assert not now & before
    assert now <= new_serials(outcome)
    for kubeconfig in ("admin", "super-admin", *EMBEDDED.values()):
        assert master.node.client(kubeconfig).status("/version") == http.client.OK
    for name, kubeconfig in EMBEDDED.items():
        file = f"/etc/kubernetes/{kubeconfig}.conf"
        assert (
            inside(master.node, name, file)
            == (master.node.kubernetes / f"{kubeconfig}.conf").read_bytes()
        )
    names = {each.name for each in (master.node.kubernetes / "manifests").iterdir()}
    assert names == {f"{name}.yaml" for name in COMPONENTS}
    return outcome


def inside(node: StaticPodNode, name: str, file: str) -> bytes:
    """A file as the component's container sees it."""
    container = node.container(name)
    assert container is not None
    return node.namespaces.path(f"/proc/{container.pid}/root{file}").read_bytes()


def test_the_plan_of_the_fresh_configuration_changes_nothing(master: Master) -> None:
    assert master.run("config", "validate").code == 0
    plan = master.run("plan")
    assert plan.code == 0, plan.err
    assert "Nothing is due: all 11 certificates are fresh" in plan.out


def test_only_what_cannot_reload_is_restarted(master: Master) -> None:
    before = containers(master.node)
    rotated(master, "as the matrix says")
    after = containers(master.node)
    assert [name for name in COMPONENTS if before[name] != after[name]] == list(EMBEDDED)
    for name in (ETCD, APISERVER):
        assert seen["as the matrix says"].of(name).refused == 0
    assert "Nothing is due" in master.run("plan").out


def test_every_pod_is_made_anew_by_its_manifest(master: Master) -> None:
    before, uids = containers(master.node), pod_uids(master.node)
    master.restart_all("manifest")
    rotated(master, "manifest")
    after = containers(master.node)
    assert not [name for name in COMPONENTS if before[name] == after[name]]
    assert not uids & pod_uids(master.node)
    for name in COMPONENTS:
        manifest = yaml.safe_load(master.node.manifest(name).read_text())
        assert ANNOTATION in manifest["metadata"]["annotations"]


def pod_uids(node: StaticPodNode) -> set[str]:
    pods = node.client().request("GET", "/api/v1/namespaces/kube-system/pods")["items"]
    return {each["metadata"]["annotations"]["kubernetes.io/config.hash"] for each in pods}


def test_every_container_is_stopped_through_the_runtime(fresh_master: Master) -> None:
    node = fresh_master.node
    before, manifests = containers(node), {n: node.manifest(n).read_bytes() for n in COMPONENTS}
    fresh_master.restart_all("cri")
    rotated(fresh_master, "runtime")
    after = containers(node)
    assert not [name for name in COMPONENTS if before[name] == after[name]]
    assert manifests == {name: node.manifest(name).read_bytes() for name in COMPONENTS}
