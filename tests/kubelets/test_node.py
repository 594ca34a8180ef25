"""A node's own certificates on a real control plane: asked for, waited for, stored as asked."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from datetime import timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
import yaml

from certrotd.adapters.kubernetes import ApiConnection, ApiServer, NodeGate
from tests.kubelets.lab import CSRS_PATH, PATIENCE, KubeletLab
from tests.kubelets.nodeside import NodeSide, grant
from tests.testbed.inventory import APISERVER
from tests.testbed.throwaway import ThrowawayCA

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.servers
ADDRESSES = (("Hostname", "node-9"), ("InternalIP", "10.0.0.19"))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeletLab]:
    """kube-controller-manager's own approver and signer, bootstrap tokens."""
    made = KubeletLab(tmp_path_factory.mktemp("node-side"))
    made.controller_manager("*", signs=True)
    made.plane.extra_arguments[APISERVER] = ["--enable-bootstrap-token-auth=true"]
    try:
        made.plane.start("etcd", "kube-apiserver", "kube-controller-manager")
        yield made
    finally:
        made.plane.stop()


@pytest.fixture(scope="module")
def token(lab: KubeletLab) -> str:
    return grant(lab)


@pytest.fixture
def node(lab: KubeletLab, token: str, tmp_path: Path, request: pytest.FixtureRequest) -> NodeSide:
    """A node with a name of its own and a bootstrap token."""
    made = NodeSide(lab, tmp_path, f"node-{abs(hash(request.node.name)) % 10**9}")
    made.give_token(token)
    return made


def joined(node: NodeSide) -> NodeSide:
    """It has a client certificate and is registered."""
    node.put(
        node.lab.authority.issue(
            f"system:node:{node.name}", organizations=["system:nodes"], server=False, client=True
        )
    )
    node.lab.make_node(node.name, *ADDRESSES)
    return node


def lapsed(node: NodeSide) -> NodeSide:
    """It was off for long: what it has ended half a minute ago."""
    node.put(
        node.lab.authority.issue(
            f"system:node:{node.name}",
            organizations=["system:nodes"],
            server=False,
            client=True,
            life=timedelta(seconds=-30),
        )
    )
    return node


def test_a_new_node_gets_its_certificate_and_a_kubeconfig_that_works(node: NodeSide) -> None:
    done = node.done("bootstrap")
    assert done["state"] == "renewed"
    current = node.current()
    target = current.readlink()
    assert target.is_absolute()
    assert target.name.startswith("kubelet-client-20")
    assert target.stat().st_mode & 0o777 == 0o600
    assert node.leaf().common_name == f"system:node:{node.name}"
    assert node.leaf().serial == done["serial"]
    assert node.kubeconfig.stat().st_mode & 0o777 == 0o600
    user = yaml.safe_load(node.kubeconfig.read_text())["users"][0]["user"]
    assert user == {"client-certificate": str(current), "client-key": str(current)}
    asked = ApiConnection(ApiServer(kubeconfig=str(node.kubeconfig)))
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "SelfSubjectReview",
    }
    who = asked.call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=review)
    assert who["status"]["userInfo"]["username"] == f"system:node:{node.name}"
    (request,) = node.requests()
    assert request["spec"]["username"] == "system:bootstrap:abcdef"
    assert node.done("bootstrap")["state"] == "fresh"
    assert len(node.requests()) == 1


def test_a_node_renews_as_itself_and_its_store_does_not_grow(node: NodeSide) -> None:
    joined(node)
    before = node.leaf().serial
    done = node.done("renew")
    assert node.leaf().serial == done["serial"] != before
    (request,) = node.requests()
    assert request["spec"]["username"] == f"system:node:{node.name}"
    assert len(list(node.pki.iterdir())) == 3, "two pairs and the link"


def test_a_lifetime_that_is_asked_for_is_given(node: NodeSide) -> None:
    joined(node).write(lifetime="30m", key="rsa-2048")
    node.done("renew")
    life = node.leaf().not_after - node.leaf().not_before
    assert timedelta(minutes=29) < life < timedelta(minutes=40)
    assert node.leaf().key == "rsa-2048"


def test_without_anything_to_ask_with_it_says_exactly_what_to_do(node: NodeSide) -> None:
    lapsed(node).section.pop("bootstrap")
    node.write()
    ended = node.run("renew")
    assert ended.returncode == 1
    assert "nothing to ask with" in ended.stderr
    assert "kubeadm token create" in ended.stderr
    assert "kubelet.bootstrap.token_file" in ended.stderr
    assert node.requests() == []


def test_a_node_that_was_off_too_long_comes_back_with_the_daemon(node: NodeSide) -> None:
    lapsed(node)
    daemon = subprocess.Popen(
        node.command("run"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        # The second tick finds the answer.
        before = node.leaf().serial
        node.lab.until(lambda: node.leaf().serial != before, "a new certificate", 120)
    finally:
        daemon.send_signal(signal.SIGTERM)
        _, said = daemon.communicate(timeout=PATIENCE)
    events = [json.loads(line)["event"] for line in said.splitlines()]
    assert "kubelet_certificate_requested" in events
    assert "kubelet_certificate_stored" in events
    assert "component_left_stopped" in events
    assert daemon.returncode == 0
    assert node.kubeconfig.exists()


def test_a_certificate_the_server_does_not_trust_any_more_is_replaced_by_token(
    node: NodeSide,
) -> None:
    stranger = ThrowawayCA.new("a CA of the past")
    node.put(
        stranger.issue(
            f"system:node:{node.name}", organizations=["system:nodes"], server=False, client=True
        )
    )
    assert node.done("renew")["state"] == "renewed"
    (request,) = node.requests()
    assert request["spec"]["username"] == "system:bootstrap:abcdef"


def test_a_serving_certificate_waits_for_a_person_and_follows_the_addresses(
    node: NodeSide,
) -> None:
    joined(node).write(purposes=["client", "serving"])
    first = node.start("renew", "--purpose", "serving", "-o", "json")
    node.rule(node.pending(), "Approved")
    said, errors = first.communicate(timeout=PATIENCE)
    assert first.returncode == 0, errors
    assert json.loads(said)["kubelet"][0]["purpose"] == "serving"
    assert node.leaf("server").ip_addresses == (ip_address("10.0.0.19"),)
    assert node.leaf("server").dns_names == ("node-9",)
    assert node.done("renew", "--if-due")["state"] == "fresh"
    node.readdress(("Hostname", "node-9"), ("InternalIP", "10.0.0.20"))
    # The pause after the first request.
    assert node.run("renew", "--if-due", "--purpose", "serving").returncode == 75
    records = node.directory / "state" / "kubelet" / "serving.json"
    record = json.loads(records.read_text())
    records.write_text(json.dumps(record | {"requests": []}))
    second = node.start("renew", "--if-due", "--purpose", "serving")
    node.rule(node.pending(), "Approved")
    _, errors = second.communicate(timeout=PATIENCE)
    assert second.returncode == 0, errors
    assert "it lacks 10.0.0.20" in errors
    assert node.leaf("server").ip_addresses == (ip_address("10.0.0.20"),)


@pytest.mark.parametrize(
    ("kind", "told"),
    [("Denied", "was denied: by a person"), ("Failed", "could not be signed: by a person")],
)
def test_a_no_is_told_and_the_next_request_waits(node: NodeSide, kind: str, told: str) -> None:
    joined(node).write(purposes=["serving"])
    asking = node.start("renew")
    request = node.pending()
    node.rule(request, kind)
    said, _ = asking.communicate(timeout=PATIENCE)
    assert asking.returncode == 1
    assert f"{request} {told}" in said
    again = node.run("renew")
    assert again.returncode == 75
    assert "so that the cluster is not flooded" in again.stdout
    assert len(node.requests()) == 1
    assert not node.current("server").exists()


def test_a_request_that_somebody_deletes_is_told(node: NodeSide) -> None:
    joined(node).write(purposes=["serving"])
    asking = node.start("renew")
    request = node.pending()
    node.lab.admin.call("DELETE", f"{CSRS_PATH}/{request}")
    said, _ = asking.communicate(timeout=PATIENCE)
    assert asking.returncode == 1
    assert f"request {request} is gone" in said


def test_nobody_approves(node: NodeSide) -> None:
    joined(node).write(purposes=["serving"], answer_within="3s")
    ended = node.run("renew")
    assert ended.returncode == 1
    request = node.pending()
    assert f"request {request} waits for approval" in ended.stdout
    assert f"kubectl certificate approve {request}" in ended.stdout
    assert [node.run("renew").returncode for _ in range(3)] == [75, 75, 75]
    assert len(node.requests()) == 1


def test_a_killed_one_goes_on_with_the_same_request_and_key(node: NodeSide) -> None:
    joined(node).write(purposes=["serving"])
    first = node.start("renew")
    request = node.pending()
    first.kill()
    first.communicate()
    state = node.directory / "state" / "kubelet" / "serving.json"
    assert state.stat().st_mode & 0o777 == 0o600
    second = node.start("renew")
    time.sleep(2)
    node.rule(request, "Approved")
    _, errors = second.communicate(timeout=PATIENCE)
    assert second.returncode == 0, errors
    assert [each["metadata"]["name"] for each in node.requests()] == [request]
    assert "PRIVATE" not in state.read_text(), "the key is forgotten once it is stored"


def test_kube_apiserver_is_restarted_in_the_middle(node: NodeSide) -> None:
    joined(node).write(purposes=["serving"])
    asking = node.start("renew")
    request = node.pending()
    node.lab.plane.restart(APISERVER)
    node.rule(request, "Approved")
    _, errors = asking.communicate(timeout=PATIENCE)
    assert asking.returncode == 0, errors
    assert node.leaf("server").ip_addresses == (ip_address("10.0.0.19"),)


def test_what_the_signer_gave_must_build_to_the_pinned_anchors(
    node: NodeSide, tmp_path: Path
) -> None:
    anchors = tmp_path / "anchors.pem"
    anchors.write_bytes(ThrowawayCA.new("another CA").pem)
    joined(node).write(trust_anchors=str(anchors))
    before = node.current().readlink()
    ended = node.run("renew")
    assert ended.returncode == 1
    assert "a path to a pinned trust anchor" in ended.stdout
    assert node.current().readlink() == before


def test_a_node_cannot_ask_for_another(node: NodeSide) -> None:
    joined(node).write(node_name="node-of-somebody-else")
    ended = node.run("renew")
    assert ended.returncode == 1
    assert "403" in ended.stdout
    assert "can only create a node CSR with" in ended.stdout or "node-of-somebody" in ended.stdout


def test_a_node_is_well_only_if_it_is_ready_and_its_lease_is_renewed(node: NodeSide) -> None:
    joined(node)
    identity = ApiServer(
        server=node.lab.url,
        ca_file=str(node.lab.ca_file),
        certificate=str(node.current()),
        key=str(node.current()),
    )
    gate = NodeGate(ApiConnection(identity), node.name)
    missing = gate.check()
    assert not missing.holds
    assert "404" in missing.detail
    leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    spec = {"holderIdentity": node.name, "renewTime": "2026-11-24T06:00:00.000000Z"}
    lease = node.lab.admin.call(
        "POST", leases, body={"metadata": {"name": node.name}, "spec": spec}
    )
    for _ in range(2):
        assert "not renewed since" in gate.check().detail
    lease["spec"]["renewTime"] = "2026-11-24T06:00:10.000000Z"
    lease = node.lab.admin.call("PUT", f"{leases}/{node.name}", body=lease)
    assert gate.check().holds
    unknown = {"type": "Ready", "status": "False", "message": "container runtime is down"}
    node.lab.node_status(node.name, {"conditions": [unknown]})
    assert "Ready is False: container runtime is down" in gate.check().detail


def test_status_asks_nobody_and_tells_all(node: NodeSide) -> None:
    node.write(server="https://127.0.0.1:1", purposes=["client", "serving"])
    lapsed(node)
    ended = node.run("status", "-o", "json")
    client, serving = json.loads(ended.stdout)["kubelet"]
    assert (client["cause"], serving["cause"]) == ("expired", "missing")
    assert client["serial"] == node.leaf().serial
    shown = node.run("status").stdout
    assert "expired" in shown
    assert "it ended at" in shown
