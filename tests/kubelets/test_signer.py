"""Vault signs for kubelets; kube-controller-manager has no CA key and signs nothing."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from certrotd.adapters.kubernetes import ApiConnection, ApiServer
from certrotd.core.x509 import parse_certificate, split_pem
from tests.adapters.vaultlab import VaultLab
from tests.kubelets.approver import ApproverProcess
from tests.kubelets.lab import BOOTSTRAPPERS, CSRS_PATH, KubeletLab
from tests.unit.requests_of_kubelets import SERVING, dns, ips, pem, subject

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.testbed.vaultserver import VaultServer

pytestmark = pytest.mark.servers
SERVER = "kubernetes.io/kubelet-serving"
ROLE: dict[str, Any] = {
    "allow_any_name": False,
    "allowed_domains": ["system:node:*"],
    "allow_glob_domains": True,
    "allow_bare_domains": True,
    "enforce_hostnames": False,
    "organization": ["system:nodes"],
    "key_type": "any",
    "key_usage": ["DigitalSignature"],
    "max_ttl": "8760h",
}
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def vault(
    unsigning_cluster: KubeletLab,
    vault_server: VaultServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> VaultLab:
    """The lab's root is trusted by kube-apiserver as a CA of clients."""
    vault = VaultLab(vault_server, tmp_path_factory.mktemp("vault"))
    vault.define_role("kubelet-client", **ROLE, server_flag=False, client_flag=True)
    vault.define_role(
        "kubelet-serving",
        **(ROLE | {"allow_any_name": True}),
        server_flag=True, client_flag=False,
    )  # fmt: skip
    vault.allow(*(f"{vault.mount}/sign/kubelet-{each}" for each in ("client", "serving")))
    with unsigning_cluster.ca_file.open("ab") as file:
        file.write(vault.anchors.read_bytes())
    return vault


@pytest.fixture
def approver(
    unsigning_cluster: KubeletLab, vault: VaultLab, tmp_path: Path
) -> Iterator[ApproverProcess]:
    with process(unsigning_cluster, vault, tmp_path) as made:
        yield made


def process(lab: KubeletLab, vault: VaultLab, directory: Path) -> ApproverProcess:
    login = vault.approle()
    root = {
        "vaults": {
            "main": {
                "address": vault.server.address,
                "ca_file": str(vault.server.ca_file),
                "auth": {
                    "approle": {
                        "role_id": login.role_id, "secret_id_file": login.secret_id_file
                    }
                },
            }
        },
        "issuers": {
            "kubelets": {
                "vault": {"connection": "main", "mount": vault.mount},
                "trust_anchors": str(vault.anchors),
            }
        },
    }  # fmt: skip
    signers = {
        each: {"issuer": "kubelets", "role": f"kubelet-{each}", "ttl": "24h"}
        for each in ("client", "serving")
    }
    policy = {"bootstrap_groups": [BOOTSTRAPPERS], "per_hour": 10_000}
    return ApproverProcess(lab, directory, policy=policy, root=root, signers=signers)


def test_a_client_certificate_of_vault_is_a_node_to_kube_apiserver(
    approver: ApproverProcess, tmp_path: Path
) -> None:
    lab, name = approver.lab, f"new-{next(_numbers)}"
    key = ec.generate_private_key(ec.SECP256R1())
    who = lab.connection("system:bootstrap:abcdef", BOOTSTRAPPERS)
    asked = lab.ask(who, pem(subject(f"system:node:{name}"), key=key))
    lab.until(lambda: lab.certificate(asked), "a certificate of Vault")
    leaf, intermediate = map(parse_certificate, split_pem(lab.certificate(asked)))
    assert (leaf.common_name, leaf.organizations) == (f"system:node:{name}", ("system:nodes",))
    assert (leaf.extended_usages, leaf.usages) == (("client auth",), ("digital signature",))
    assert intermediate.is_ca
    certificate, private = tmp_path / "node.crt", tmp_path / "node.key"
    certificate.write_bytes(lab.certificate(asked))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    node = ApiConnection(
        ApiServer(
            server=lab.url,
            ca_file=str(lab.ca_file),
            certificate=str(certificate),
            key=str(private),
        )
    )
    review = node.call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body={})
    user = review["status"]["userInfo"]
    assert user["username"] == f"system:node:{name}"
    assert "system:nodes" in user["groups"]


def test_a_serving_certificate_has_exactly_the_names_and_the_life_that_were_asked_for(
    approver: ApproverProcess,
) -> None:
    lab = approver.lab
    who = lab.connection("system:node:node-1", "system:nodes")
    names = (*dns("node-1", "node-1.example"), *ips("10.0.0.11"))
    asked = lab.ask(who, pem(None, names), signer=SERVER, usages=SERVING, lifetime=7200)
    lab.until(lambda: lab.certificate(asked), "a certificate of Vault")
    leaf, _ = map(parse_certificate, split_pem(lab.certificate(asked)))
    assert set(leaf.dns_names) == {"node-1", "node-1.example"}
    assert list(map(str, leaf.ip_addresses)) == ["10.0.0.11"]
    assert leaf.extended_usages == ("server auth",)
    assert 7000 < (leaf.not_after - leaf.not_before).total_seconds() < 7400
    signed = approver.wait_logged("request_signed", request=asked)
    assert signed["serial"] == leaf.serial


def test_a_request_that_a_person_approved_in_error_is_failed_and_not_signed(
    approver: ApproverProcess,
) -> None:
    lab = approver.lab
    who = lab.connection("system:bootstrap:abcdef", BOOTSTRAPPERS)
    evil = pem(subject("system:node:evil", "system:nodes", "system:masters"))
    asked = lab.ask(who, evil, signer="kubernetes.io/kube-apiserver-client-kubelet")
    approver.wait_logged("request_denied", request=asked)
    approver.stop()
    again = lab.ask(who, evil)
    condition = {"type": "Approved", "status": "True", "reason": "Person", "message": "looks good"}
    lab.admin.call(
        "PATCH", f"{CSRS_PATH}/{again}/approval",
        body={"status": {"conditions": [condition]}}, content="application/merge-patch+json",
    )  # fmt: skip
    with approver:
        lab.until(lambda: "Failed" in lab.conditions(again), "the condition Failed")
    assert "subject" in lab.conditions(again)["Failed"]
    assert lab.conditions(again)["Approved"] == "looks good"
    assert lab.certificate(again) == b""


def test_a_vault_that_is_sealed_is_waited_for(
    unsigning_cluster: KubeletLab, own_vault_server: VaultServer, tmp_path: Path
) -> None:
    lab = unsigning_cluster
    vault = VaultLab(own_vault_server, tmp_path)
    vault.define_role("kubelet-client", **ROLE, server_flag=False, client_flag=True)
    vault.allow(f"{vault.mount}/sign/kubelet-client")
    own_vault_server.seal()
    with process(lab, vault, tmp_path / "approver") as approver:
        who = lab.connection("system:bootstrap:abcdef", BOOTSTRAPPERS)
        asked = lab.ask(who, pem(subject(f"system:node:sealed-{next(_numbers)}")))
        approver.wait_logged("signing_failed", request=asked)
        assert "Approved" in lab.conditions(asked)
        own_vault_server.unseal()
        approver.wait_logged("request_signed", request=asked)
        assert set(lab.conditions(asked)) == {"Approved"}
