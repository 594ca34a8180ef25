"""A real kubelet that lost its certificates, in a real cluster that it runs itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.kubelets.realnode import KUBECONFIG, PKI, RealNode
from tests.testbed.inventory import APISERVER
from tests.testbed.staticpods import ADDRESS, PORTS, unavailable

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

pytestmark = pytest.mark.kubelet
PORTS_OF_KUBELET = {"kubelet": (ADDRESS, 10250)}
MOVED = "192.0.2.11"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealNode]:
    if reason := unavailable():
        pytest.skip(reason)
    made = RealNode(tmp_path_factory.mktemp("node"))
    PORTS.update(PORTS_OF_KUBELET)
    try:
        with made:
            made.grant()
            made.configure()
            # The kubelet itself replaces what kubeadm put into its kubeconfig.
            made.until(lambda: made.current().exists(), "the kubelet's own certificate")
            made.until(made.node_is_ready, "a ready node")
            yield made
    finally:
        PORTS.pop("kubelet", None)


def succeeded(ended: subprocess.CompletedProcess[str], node: RealNode) -> str:
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}\n{node.kubelet_log()[-4000:]}"
    return ended.stdout


def test_a_node_that_is_well_is_left_alone(node: RealNode) -> None:
    before, starts = node.serial(), node.kubelet_starts()
    said = succeeded(node.certrotd("renew", "--if-due", "--purpose", "client", "-o", "json"), node)
    assert json.loads(said)["kubelet"][0]["state"] == "fresh"
    assert (node.serial(), node.kubelet_starts()) == (before, starts)


def test_a_certificate_is_replaced_on_demand_and_the_kubelet_uses_it(node: RealNode) -> None:
    before, starts = node.serial(), node.kubelet_starts()
    containers = set(node.containerd.containers())
    said = succeeded(node.certrotd("renew", "--purpose", "client", "-o", "json"), node)
    done = json.loads(said)["kubelet"][0]
    assert done["state"] == "renewed"
    assert node.serial() == done["serial"] != before
    assert node.kubelet_starts() == starts + 1
    assert node.node_is_ready()
    assert set(node.containerd.containers()) == containers, "pods keep running"


def test_a_lost_store_and_kubeconfig_are_repaired(node: RealNode) -> None:
    node.forget_requests()
    pki = node.namespaces.path(PKI)
    for each in pki.glob("kubelet-client-*"):
        each.unlink()
    node.namespaces.path(KUBECONFIG).unlink()
    said = succeeded(node.certrotd("bootstrap", "-o", "json"), node)
    assert json.loads(said)["kubelet"][0]["state"] == "renewed"
    kubeconfig = node.namespaces.path(KUBECONFIG).read_text()
    assert f"{PKI}/kubelet-client-current.pem" in kubeconfig
    assert node.node_is_ready()


def test_a_kubelet_whose_certificate_has_ended_comes_back_by_its_token(node: RealNode) -> None:
    node.forget_requests()
    node.put_expired()
    starts = node.kubelet_starts()
    node.restart_kubelet()
    # It does not start any more: the outage that needs a person as a rule.
    node.until(lambda: node.kubelet_starts() > starts + 2, "a kubelet that does not start")
    assert "bootstrap" in node.kubelet_log()[-20000:]
    shown = json.loads(succeeded(node.certrotd("status", "-o", "json"), node))
    assert shown["kubelet"][0]["cause"] == "expired"
    said = succeeded(node.certrotd("renew", "--if-due", "--purpose", "client", "-o", "json"), node)
    assert json.loads(said)["kubelet"][0]["state"] == "renewed"
    assert node.node_is_ready()


def test_a_serving_certificate_follows_the_address_of_the_node(node: RealNode) -> None:
    asking = node.start_certrotd("renew", "--purpose", "serving", "-o", "json")
    node.approve(node.pending())
    said, errors = asking.communicate(timeout=300)
    assert asking.returncode == 0, errors + node.kubelet_log()[-4000:]
    first = json.loads(said)["kubelet"][0]["serial"]
    assert node.served("kubelet") == node.serial("server") == first

    node.namespaces.run("ip", "address", "add", f"{MOVED}/32", "dev", "lo")
    node.move_kubelet(MOVED)

    def moved() -> bool:
        addresses = node.node_object()["status"]["addresses"]
        return {"type": "InternalIP", "address": MOVED} in addresses

    node.until(moved, "the Node's new address")
    node.forget_requests()
    asking = node.start_certrotd("renew", "--if-due", "--purpose", "serving", "-o", "json")
    node.approve(node.pending())
    said, errors = asking.communicate(timeout=300)
    assert asking.returncode == 0, errors + node.kubelet_log()[-4000:]
    assert MOVED in errors
    second = json.loads(said)["kubelet"][0]["serial"]
    assert node.served("kubelet") == node.serial("server") == second != first


def test_kube_apiserver_is_killed_while_a_request_waits(node: RealNode) -> None:
    node.forget_requests()
    asking = node.start_certrotd("renew", "--purpose", "serving", "-o", "json")
    request = node.pending()
    node.kill_container(APISERVER)
    node.wait_ready(APISERVER)
    node.until(lambda: node.approved(request), "approval")
    said, errors = asking.communicate(timeout=300)
    assert asking.returncode == 0, errors + node.kubelet_log()[-4000:]
    assert node.served("kubelet") == json.loads(said)["kubelet"][0]["serial"]
