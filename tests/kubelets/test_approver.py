"""The approver on a real cluster, with the rights of its manifests: life, death and takeover."""

from __future__ import annotations

import itertools
import json
import signal
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from certrotd.core.errors import ApiRefused
from certrotd.core.x509 import parse_certificate
from tests.kubelets.approver import USER, ApproverProcess
from tests.kubelets.burst import ask_all, wait_signed
from tests.kubelets.lab import BOOTSTRAPPERS, CSRS_PATH, KubeletLab
from tests.unit.requests_of_kubelets import SERVING, dns, ips, pem, subject

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.servers
SERVER = "kubernetes.io/kubelet-serving"
OF_NODE_1 = (*dns("node-1", "node-1.example"), *ips("10.0.0.11"))
GENEROUS = {"bootstrap_groups": [BOOTSTRAPPERS], "per_hour": 10_000}
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
_numbers = itertools.count(1)


def fresh(lab: KubeletLab) -> str:
    """A request for the first certificate of a node that does not exist yet."""
    who = lab.connection("system:bootstrap:abcdef", BOOTSTRAPPERS)
    return lab.ask(who, pem(subject(f"system:node:fresh-{next(_numbers)}")))


def serving(lab: KubeletLab) -> str:
    who = lab.connection("system:node:node-1", "system:nodes")
    return lab.ask(who, pem(None, OF_NODE_1), signer=SERVER, usages=SERVING)


def test_a_node_gets_its_certificates_from_the_first_to_the_next(
    signing_cluster: KubeletLab, tmp_path: Path
) -> None:
    lab = signing_cluster
    with ApproverProcess(lab, tmp_path, policy=GENEROUS):
        first = fresh(lab)
        lab.until(lambda: lab.certificate(first), "the first client certificate")
        who = lab.connection("system:node:node-1", "system:nodes")
        renewal, served = lab.ask(who, pem()), serving(lab)
        lab.until(lambda: lab.certificate(renewal), "the next client certificate")
        lab.until(lambda: lab.certificate(served), "the serving certificate")
        leaf = parse_certificate(lab.certificate(served))
        assert leaf.common_name == "system:node:node-1"
        assert set(leaf.dns_names) == {"node-1", "node-1.example"}
        (event,) = lab.events(served)
        assert (event["reason"], event["type"]) == ("Approved", "Normal")
        assert event["message"] == "all: node node-1, a serving certificate"


def test_a_node_that_registers_late_is_approved_once_it_is_there(
    signing_cluster: KubeletLab, tmp_path: Path
) -> None:
    lab, name = signing_cluster, f"late-{next(_numbers)}"
    with ApproverProcess(lab, tmp_path, policy=GENEROUS) as approver:
        who = lab.connection(f"system:node:{name}", "system:nodes")
        csr = pem(subject(f"system:node:{name}"), dns(name))
        asked = lab.ask(who, csr, signer=SERVER, usages=SERVING)
        approver.wait_logged("request_left_pending", request=asked, rule="existence")
        lab.make_node(name, ("Hostname", name))
        approver.wait_logged("request_approved", request=asked)
        assert len(approver.events("request_left_pending")) == 1
        assert {each["reason"] for each in lab.events(asked)} == {
            "LeftPendingByExistence", "Approved",
        }  # fmt: skip


def test_a_changed_address_is_believed_a_few_seconds_later(
    signing_cluster: KubeletLab, tmp_path: Path
) -> None:
    lab, name = signing_cluster, f"moving-{next(_numbers)}"
    lab.make_node(name, ("Hostname", name), ("InternalIP", "10.0.1.1"))
    with ApproverProcess(lab, tmp_path, policy=GENEROUS) as approver:
        who = lab.connection(f"system:node:{name}", "system:nodes")
        csr = pem(subject(f"system:node:{name}"), ips("10.0.1.2"))
        asked = lab.ask(who, csr, signer=SERVER, usages=SERVING)
        approver.wait_logged("request_left_pending", request=asked, rule="addresses")
        lab.node_status(name, {"addresses": [{"type": "InternalIP", "address": "10.0.1.2"}]})
        approver.wait_logged("request_approved", request=asked)


def test_a_standby_goes_on_where_the_killed_leader_was(
    signing_cluster: KubeletLab, tmp_path: Path
) -> None:
    lab = signing_cluster
    with (
        ApproverProcess(lab, tmp_path / "one", policy=GENEROUS) as one,
        ApproverProcess(lab, tmp_path / "two", policy=GENEROUS) as two,
    ):
        one.wait_logged("leadership_taken")
        before = fresh(lab)
        one.wait_logged("request_approved", request=before)
        assert two.events("leadership_taken") == []
        one.kill()
        orphan = fresh(lab)
        two.wait_logged("leadership_taken")
        two.wait_logged("request_approved", request=orphan)
        assert two.events("request_approved")[0]["request"] == orphan


def test_a_leader_that_is_told_to_end_hands_over_at_once(
    signing_cluster: KubeletLab, tmp_path: Path
) -> None:
    lab = signing_cluster
    with ApproverProcess(lab, tmp_path / "one", policy=GENEROUS) as one:
        one.wait_logged("leadership_taken")
        assert one.stop() == 0
        one.wait_logged("daemon_stopped")
    lease = lab.admin.call(
        "GET",
        "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/certrotd-kubelet-approver",
    )
    assert lease["spec"].get("holderIdentity", "") == ""


def test_a_kube_apiserver_that_restarts_is_waited_for(
    signing_cluster: KubeletLab, tmp_path: Path
) -> None:
    lab = signing_cluster
    with ApproverProcess(lab, tmp_path, policy=GENEROUS) as approver:
        approver.wait_logged("leadership_taken")
        lab.plane.restart("kube-apiserver")
        lab.admin.close()
        asked = fresh(lab)
        approver.wait_logged("request_approved", request=asked)


def test_a_kube_apiserver_that_restarts_in_the_middle_of_many_loses_none(
    signing_cluster: KubeletLab, tmp_path: Path
) -> None:
    lab = signing_cluster
    names = ask_all(lab, "restarted", 200)
    with ApproverProcess(lab, tmp_path, policy=GENEROUS) as approver:
        lab.until(lambda: len(approver.events("request_approved")) > 20, "the first of many")
        lab.plane.restart("kube-apiserver")
        lab.admin.close()
        wait_signed(lab, names)
        approved = {each["request"] for each in approver.events("request_approved")}
        assert approver.events("cluster_unavailable")
    assert len(approved & names) > 190  # of a few it was not told that they are
    assert approver.events("request_denied") == []


def test_a_configuration_is_read_again_and_a_faulty_one_is_not_taken(
    signing_cluster: KubeletLab, tmp_path: Path
) -> None:
    lab = signing_cluster
    with ApproverProcess(lab, tmp_path, policy={"per_hour": 10_000}) as approver:
        asked = fresh(lab)
        approver.wait_logged("request_denied", request=asked, rule="requester")
        good = approver.config.read_text()
        approver.config.write_text(good.replace("per_hour", "per_our"))
        approver.send(signal.SIGHUP)
        approver.wait_logged("config_rejected")
        approver.config.write_text(
            good.replace("policy:", f"policy:\n    bootstrap_groups: ['{BOOTSTRAPPERS}']")
        )
        approver.send(signal.SIGHUP)
        approver.wait_logged("config_reloaded")
        again = fresh(lab)
        approver.wait_logged("request_approved", request=again)


def test_a_dry_run_shows_verdicts_and_once_carries_them_out(
    signing_cluster: KubeletLab, tmp_path: Path
) -> None:
    lab = signing_cluster
    approver = ApproverProcess(lab, tmp_path, policy=GENEROUS)
    asked = fresh(lab)
    shown = approver.run("approve", "--dry-run", "-o", "json")
    assert shown.returncode == 0, shown.stderr
    (verdict,) = [e for e in json.loads(shown.stdout)["requests"] if e["request"] == asked]
    assert verdict["ruling"] == "approved"
    assert lab.conditions(asked) == {}
    done = approver.run("approve", "--once")
    assert done.returncode == 0, done.stderr
    assert "Approved" in lab.conditions(asked)


def test_an_inventory_and_not_the_node_says_what_is_the_nodes(
    signing_cluster: KubeletLab, tmp_path: Path
) -> None:
    lab = signing_cluster
    inventory = tmp_path / "inventory.yaml"
    inventory.write_text("node-1: [node-1, 10.0.0.11]\n")
    policy = {**GENEROUS, "trust_nodes": False, "inventory": str(inventory)}
    with ApproverProcess(lab, tmp_path, policy=policy) as approver:
        asked = serving(lab)
        told = approver.wait_logged("request_left_pending", request=asked, rule="addresses")
        assert "node-1.example" in told["detail"]
        inventory.write_text("node-1: [node-1, node-1.example, 10.0.0.11]\n")
        approver.wait_logged("request_approved", request=asked)


def test_the_rights_are_enough_for_the_two_signers_and_for_nothing_else(
    signing_cluster: KubeletLab,
) -> None:
    lab = signing_cluster
    who = lab.connection("system:bootstrap:abcdef", BOOTSTRAPPERS)
    other = lab.ask(who, pem(), signer="kubernetes.io/kube-apiserver-client")
    own = lab.ask(who, pem(subject("system:node:rights")))
    me = lab.connection(USER)
    condition = {"type": "Approved", "status": "True", "reason": "x", "message": "x"}
    merge = "application/merge-patch+json"
    with pytest.raises(ApiRefused, match="not permitted to approve"):
        me.call(
            "PATCH", f"{CSRS_PATH}/{other}/approval",
            body={"status": {"conditions": [condition]}}, content=merge,
        )  # fmt: skip
    certificate = {"status": {"certificate": ""}}
    for method, path in (
        ("PATCH", f"{CSRS_PATH}/{own}/status"),
        ("DELETE", f"{CSRS_PATH}/{own}"),
        ("GET", "/api/v1/nodes"),
        ("GET", "/api/v1/namespaces/kube-system/secrets"),
        ("GET", f"{LEASES}/kube-scheduler"),
        ("POST", CSRS_PATH),
    ):
        body = None if method in ("GET", "DELETE") else certificate
        content = merge if method == "PATCH" else "application/json"
        with pytest.raises(ApiRefused) as caught:
            me.call(method, path, body=body, content=content)
        assert caught.value.status == 403, path


def test_certificates_of_kube_controller_manager_are_what_was_approved(
    signing_cluster: KubeletLab, tmp_path: Path
) -> None:
    lab = signing_cluster
    with ApproverProcess(lab, tmp_path, policy=GENEROUS):
        asked = serving(lab)
        lab.until(lambda: lab.certificate(asked), "a certificate")
    certificate = x509.load_pem_x509_certificate(lab.certificate(asked))
    certificate.verify_directly_issued_by(lab.authority.certificate)
