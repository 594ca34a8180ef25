"""`certrotd kubelet guard` against a real cluster."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.exposition import parse
from tests.kubelets.approver import MANIFESTS, ApproverProcess
from tests.kubelets.lab import BOOTSTRAPPERS, KubeletLab
from tests.unit.requests_of_kubelets import pem, subject

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.servers


def test_findings_come_and_go_with_their_causes(
    signing_cluster: KubeletLab, tmp_path: Path
) -> None:
    lab = signing_cluster
    approver = ApproverProcess(
        lab, tmp_path,
        policy={"bootstrap_groups": [BOOTSTRAPPERS]},
        guard={"signing_ca": str(lab.ca_file), "pending_warning": "1ms"},
    )  # fmt: skip
    admin = str(lab.plane.layout.kubeconfig("admin"))
    lab.bind("cluster-admin", "kubeadm:cluster-admins")

    def look(*arguments: str) -> tuple[int, dict[str, Any]]:
        done = approver.run("guard", "-o", "json", *arguments)
        return done.returncode, json.loads(done.stdout)

    who = lab.connection("system:bootstrap:abcdef", BOOTSTRAPPERS)
    waiting = lab.ask(who, pem(subject("system:node:waiting")))
    code, found = look("--kubeconfig", admin)
    told = "\n".join(each["text"] for each in found["concerns"])
    assert waiting in told
    assert "no bootstrap token" in told
    assert "the signing CA kubernetes ends in 0 days" in told
    assert "may not" not in told
    assert (code, found["state"]) == (2, "CRITICAL")
    lab.put_token("abcdef", datetime(2099, 1, 1, tzinfo=UTC), [BOOTSTRAPPERS])
    with approver:
        lab.until(lambda: lab.certificate(waiting), "a certificate")
    _, found = look("--kubeconfig", admin)
    (left,) = found["concerns"]
    assert "the signing CA" in left["text"]
    assert found["figures"]["pending"] == 0
    assert found["figures"]["signed"] >= 1
    table = approver.run("guard", "--kubeconfig", admin)
    assert table.stdout.startswith("CERTROTD KUBELETS CRITICAL - the signing CA")
    assert "pending=0" in table.stdout
    metrics = approver.run("guard", "-o", "prometheus", "--kubeconfig", admin)
    got = parse(metrics.stdout)
    assert (metrics.returncode, got["certrotd_kubelet_guard_state", frozenset()]) == (2, 2)
    assert got["certrotd_kubelet_requests", frozenset({("state", "pending")})] == 0
    assert got["certrotd_kubelet_requests", frozenset({("state", "issued")})] >= 1
    ca = frozenset({("certificate", "signing_ca"), ("name", "kubernetes")})
    assert got["certrotd_kubelet_certificate_expiry_timestamp_seconds", ca] > 0


def test_who_may_not_look_is_told_so(signing_cluster: KubeletLab, tmp_path: Path) -> None:
    done = ApproverProcess(signing_cluster, tmp_path).run("guard", "-o", "json")
    found = json.loads(done.stdout)
    unknown = [each["text"] for each in found["concerns"] if each["state"] == "UNKNOWN"]
    assert any("bootstrap tokens could not be looked at" in each for each in unknown)
    assert any("rights could not be looked at" in each for each in unknown)


def test_the_rights_of_the_manifest_are_enough(signing_cluster: KubeletLab, tmp_path: Path) -> None:
    lab = signing_cluster
    lab.apply(MANIFESTS / "kubelet-guard.yaml")
    guard = ApproverProcess(lab, tmp_path, user="certrotd:kubelet-guard")
    found = json.loads(guard.run("guard", "-o", "json").stdout)
    assert [each for each in found["concerns"] if each["state"] == "UNKNOWN"] == []
