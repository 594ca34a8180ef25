"""What the pinned kubeadm makes becomes a configuration that finds everything as configured."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from certrotd.adapters.clock import SystemClock
from certrotd.core.model import Reason, Result
from certrotd.core.planning import Wish
from certrotd.discovery.document import fill_ins
from tests.discovery.kubeadm import KubeadmNode
from tests.discovery.looked import data_of, loaded, text_of, words_of
from tests.discovery.planned import rotator

if TYPE_CHECKING:
    from pathlib import Path

    from certrotd.config import Config
    from certrotd.core.model import Plan

pytestmark = pytest.mark.servers
CLUSTERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "as it comes": ({"encryptionAlgorithm": "RSA-2048"}, {}),
    "ECDSA": ({"encryptionAlgorithm": "ECDSA-P256"}, {}),
    "behind a load balancer, with more names": (
        {
            "controlPlaneEndpoint": "api.example:8443",
            "apiServer": {"certSANs": ["api.internal.example", "*.wild.example", "192.0.2.10"]},
            "etcd": {"local": {"serverCertSANs": ["etcd-1.example"], "peerCertSANs": ["peer.x"]}},
        },
        {},
    ),
    "IPv6": (
        {"networking": {"serviceSubnet": "fd00:10::/108", "podSubnet": "fd00:11::/64"}},
        {"localAPIEndpoint": {"advertiseAddress": "fd00:1::11", "bindPort": 6443}},
    ),
    "both families": (
        {
            "networking": {
                "serviceSubnet": "10.96.0.0/16,fd00:10::/108",
                "podSubnet": "10.244.0.0/16,fd00:11::/56",
            }
        },
        {},
    ),
    "another port and DNS domain": (
        {"networking": {"serviceSubnet": "10.96.0.0/16", "dnsDomain": "corp.example"}},
        {"localAPIEndpoint": {"advertiseAddress": "10.0.0.11", "bindPort": 443}},
    ),
}
COMPONENTS = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "admin"]
CERTIFICATES = {
    "etcd-server",
    "etcd-peer",
    "etcd-healthcheck-client",
    "apiserver",
    "apiserver-kubelet-client",
    "apiserver-etcd-client",
    "front-proxy-client",
    "controller-manager",
    "scheduler",
    "admin",
    "super-admin",
}


def planned(config: Config, folder: Path, days: int) -> Plan:
    now = SystemClock().now() + timedelta(days=days)
    return rotator(config, folder / "state", now).plan(Wish())


def reasons(plan: Plan) -> set[Reason]:
    return {each.reason for seen in plan.observations for each in seen.findings}


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_the_fresh_configuration_finds_everything_as_configured_but_old(
    cluster: str, tmp_path: Path
) -> None:
    node = KubeadmNode(tmp_path / "kubernetes", *CLUSTERS[cluster]).make()
    for issuer in ("vault", "ca"):
        plan = planned(loaded(node, tmp_path, issuer=issuer), tmp_path, days=2)
        assert [str(each.component.name) for each in plan.steps] == COMPONENTS
        assert {str(each.spec.name) for each in plan.observations} == CERTIFICATES
        assert reasons(plan) == {Reason.DUE}


def test_a_rotation_by_the_nodes_own_ca_changes_nothing_that_init_would_write(
    tmp_path: Path,
) -> None:
    node = KubeadmNode(tmp_path / "kubernetes").make()
    config = loaded(node, tmp_path, issuer="ca")
    before = text_of(node, issuer="ca")
    now = SystemClock().now() + timedelta(days=2)
    report = rotator(config, tmp_path / "state", now).run(Wish())
    assert report.result is Result.DONE, report
    assert text_of(node, issuer="ca") == before
    assert not planned(config, tmp_path, days=2).steps
    for name in ("admin.conf", "controller-manager.conf", "scheduler.conf"):
        kubeconfig = yaml.safe_load((node.folder / name).read_text())
        assert kubeconfig["current-context"] == kubeconfig["contexts"][0]["name"]
    assert not (node.folder / "kubelet.conf").is_symlink()


def test_proofs_of_etcd_ask_where_its_certificates_have_names(master: KubeadmNode) -> None:
    assert data_of(master)["components"]["etcd"]["proofs"] == [
        {
            "tls": {
                "address": "127.0.0.1:2379",
                "certificate": "etcd-server",
                "client_certificate": "etcd-healthcheck-client",
            }
        },
        {
            "tls": {
                "address": "10.0.0.11:2380",
                "certificate": "etcd-peer",
                "client_certificate": "etcd-peer",
            }
        },
        {
            "client": {
                "url": "https://127.0.0.1:2379/version",
                "certificate": "etcd-healthcheck-client",
                "ca_file": f"{master.pki}/etcd/ca.crt",
            }
        },
    ]


def test_proofs_and_gates_ask_where_the_certificates_have_names(master: KubeadmNode) -> None:
    data = data_of(master)["components"]
    folder = str(master.folder)
    assert data["kube-apiserver"]["proofs"][0] == {
        "tls": {"address": "10.0.0.11:6443", "certificate": "apiserver"}
    }
    assert data["kube-apiserver"]["gates"] == [
        {
            "kube_apiserver": {
                "url": "https://10.0.0.11:6443",
                "ca_file": f"{folder}/pki/ca.crt",
                "client_certificate": "admin",
                "resources": ["/api/v1/nodes"],
            }
        }
    ]
    lease = data["kube-scheduler"]["gates"][1]["lease"]
    assert (lease["name"], lease["client_certificate"]) == ("kube-scheduler", "scheduler")


def test_components_come_in_order_and_by_their_manifests(master: KubeadmNode) -> None:
    data = data_of(master)["components"]
    folder = str(master.folder)
    assert {each: data[each].get("after") for each in data} == {
        "etcd": None,
        "kube-apiserver": ["etcd"],
        "kube-controller-manager": ["kube-apiserver"],
        "kube-scheduler": ["kube-apiserver", "kube-controller-manager"],
        "admin": ["kube-apiserver"],
    }
    pod = data["kube-apiserver"]["activation"]["auto"]["restart"]["static_pod"]
    assert pod == {
        "name": "kube-apiserver",
        "manifest": f"{folder}/manifests/kube-apiserver.yaml",
        "grace": "5s",
        "kubelet_health": "127.0.0.1:10248",
        "serves_kubelet": True,
    }


def test_what_is_read_and_never_written_is_told_by_what_it_is(master: KubeadmNode) -> None:
    data = data_of(master)["components"]
    pki = f"{master.pki}/"
    reads = {
        name: {(each["path"].removeprefix(pki), each["material"]) for each in section["reads"]}
        for name, section in data.items()
        if "reads" in section
    }
    assert reads["kube-apiserver"] == {
        ("ca.crt", "client-ca"),
        ("front-proxy-ca.crt", "request-header-ca"),
        ("etcd/ca.crt", "etcd-ca"),
        ("sa.pub", "service-account-keys"),
        ("sa.key", "service-account-keys"),
    }
    assert ("ca.key", "cluster-signing") in reads["kube-controller-manager"]
    assert ("etcd/ca.crt", "peer-trusted-ca") in reads["etcd"]


def test_the_file_says_what_must_be_known(master: KubeadmNode) -> None:
    text = words_of(master)
    assert "Kubernetes v1.37.2, service range 10.96.0.0/16" in text
    assert f"{master.pki}/ca.crt is also kube-controller-manager's --cluster-signing" in text
    assert f"{master.folder}/scheduler.conf is mounted into the container as a single file" in text
    assert "The kubelet's certificates (kubelet.conf" in text
    assert fill_ins(text_of(master)) == 6
    mounts = {each: f"pki-{each}" for each in ("etcd", "kubernetes", "front-proxy")}
    given = text_of(master, vault_address="https://vault.corp:8200", mounts=mounts)
    assert fill_ins(given) == 2  # the login
    assert fill_ins(text_of(master, issuer="ca")) == 0


def test_without_a_local_etcd_its_ca_has_no_key_here_so_vault_signs_for_it(tmp_path: Path) -> None:
    node = KubeadmNode(tmp_path / "kubernetes").make(etcd=False)
    external = tmp_path / "external"
    external.mkdir()
    for name in ("etcd/ca.crt", "apiserver-etcd-client.crt", "apiserver-etcd-client.key"):
        (node.pki / name).rename(external / name.rpartition("/")[2])
    node.edit("kube-apiserver", f"{node.pki}/etcd/ca.crt", f"{external}/ca.crt")
    node.edit("kube-apiserver", f"{node.pki}/apiserver-etcd", f"{external}/apiserver-etcd")
    node.edit("kube-apiserver", "https://127.0.0.1:2379", "https://10.0.0.21:2379,https://e.x:2379")
    node.edit("kube-apiserver", f"path: {node.pki}\n", f"path: {tmp_path}\n")
    node.edit("kube-apiserver", f"mountPath: {node.pki}\n", f"mountPath: {tmp_path}\n")
    data = data_of(node, issuer="ca")
    assert data["issuers"]["etcd"]["vault"]["mount"] == "pki/etcd"
    assert data["issuers"]["kubernetes"]["ca"]["key"] == f"{node.pki}/ca.key"
    apiserver = data["components"]["kube-apiserver"]
    assert "after" not in apiserver
    assert [next(iter(each)) for each in apiserver["proofs"]] == ["tls", "client"]
    config = loaded(node, tmp_path, issuer="ca")
    assert reasons(planned(config, tmp_path, days=2)) == {Reason.DUE}


def test_the_cluster_and_ca_keys_are_called_as_they_are(tmp_path: Path) -> None:
    node = KubeadmNode(tmp_path / "kubernetes", {"clusterName": "blue"}).make()
    assert data_of(node)["cluster"] == "blue"
    assert data_of(node, cluster="red")["cluster"] == "red"
    (node.pki / "etcd" / "ca.key").rename(node.pki / "etcd" / "ca-key.pem")
    issuers = data_of(node, issuer="ca")["issuers"]
    assert issuers["etcd"]["ca"]["key"] == f"{node.pki}/etcd/ca-key.pem"
    (node.pki / "front-proxy-ca.key").write_bytes((node.pki / "ca.key").read_bytes())
    issuers = data_of(node, issuer="ca")["issuers"]
    assert "vault" in issuers["front-proxy"]  # that key is not this CA's
