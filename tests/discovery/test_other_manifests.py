"""Static pods that are not as kubeadm writes them: kubeadm's own, changed as people change them."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING

import pytest
import yaml

from certrotd.discovery.document import Wishes, document
from certrotd.discovery.kubelet import kubelet
from tests.discovery.looked import Elsewhere, data_of, loaded, look, words_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.discovery.kubeadm import KubeadmNode

pytestmark = pytest.mark.servers
API, ETCD, SCHEDULER = "kube-apiserver", "etcd", "kube-scheduler"


@pytest.fixture
def node(master: KubeadmNode, tmp_path: Path) -> KubeadmNode:
    return master.copied(tmp_path / "kubernetes")


def outputs(section: dict[str, object]) -> list[dict[str, str]]:
    certificates: dict[str, dict[str, list[dict[str, str]]]] = section["certificates"]  # type: ignore[assignment]
    return [output for each in certificates.values() for output in each["outputs"]]


def pairs_by_file(node: KubeadmNode, name: str, pair: str) -> None:
    """Write a kubeconfig that names files of kubeadm's etcd client as its identity."""
    path = node.folder / name
    data = yaml.safe_load(path.read_text())
    data["users"][0]["user"] = {
        "client-certificate": f"pki/{pair}.crt",  # relative to the kubeconfig's folder
        "client-key": f"{node.pki}/{pair}.key",
    }
    data["clusters"][0]["cluster"].pop("certificate-authority-data")
    data["clusters"][0]["cluster"]["certificate-authority"] = f"{node.pki}/ca.crt"
    path.write_text(yaml.safe_dump(data))


def test_paths_of_the_container_become_paths_of_the_host(node: KubeadmNode) -> None:
    manifest = node.manifests / f"{API}.yaml"
    text = manifest.read_text().replace(f"{node.pki}", "/srv/tls")
    manifest.write_text(text.replace("path: /srv/tls", f"path: {node.pki}", 1))
    assert f"mountPath: {node.pki}" not in text
    section = data_of(node)["components"][API]
    assert outputs(section)[0] == {"certificate": f"{node.pki}/apiserver.crt"}
    assert {"path": f"{node.pki}/ca.crt", "material": "client-ca"} in section["reads"]


def test_a_shell_that_starts_the_program_is_seen_through(node: KubeadmNode) -> None:
    manifest = node.manifests / f"{API}.yaml"
    pod = yaml.safe_load(manifest.read_text())
    container = pod["spec"]["containers"][0]
    line = " \\\n  ".join(container.pop("command"))
    container["command"] = ["/bin/sh", "-c"]
    container["args"] = [f"mkfifo /tmp/p; exec {line} > /var/log/{API}.log 2>&1"]
    before = data_of(node)["components"][API]
    manifest.write_text(yaml.safe_dump(pod))
    assert data_of(node)["components"][API] == before


def test_etcd_for_events_is_a_component_of_its_own_and_the_first(
    node: KubeadmNode, tmp_path: Path
) -> None:
    text = (node.manifests / f"{ETCD}.yaml").read_text()
    for old, new in (("2379", "2382"), ("2380", "2383"), ("name: etcd\n", "name: etcd-events\n")):
        text = text.replace(old, new)
    for name in ("server", "peer"):
        for end in ("crt", "key"):
            file = node.pki / "etcd" / f"{name}.{end}"
            other = node.pki / "etcd" / f"events-{name}.{end}"
            other.write_bytes(file.read_bytes())
            text = text.replace(str(file), str(other))
    (node.manifests / "etcd-events.manifest").write_text(text)
    overrides = "    - --etcd-servers-overrides=/events#https://127.0.0.1:2382\n"
    node.edit(API, "    - --etcd-cafile", f"{overrides}    - --etcd-cafile")
    data = data_of(node)["components"]
    assert list(data)[:3] == ["etcd-events", "etcd", API]
    assert data["etcd"]["after"] == ["etcd-events"]
    assert data[API]["after"] == ["etcd-events", "etcd"]
    assert data["etcd-events"]["proofs"][0]["tls"]["address"] == "127.0.0.1:2382"
    assert set(data["etcd-events"]["certificates"]) == {
        "etcd-events-server",
        "etcd-events-peer",
        "etcd-events-healthcheck-client",
    }
    assert (
        data["etcd"]["gates"][0]["etcd"]["client_certificate"] == "etcd-events-healthcheck-client"
    )
    calls = [each["client"] for each in data[API]["proofs"] if "client" in each]
    urls = [each["url"] for each in calls if each["certificate"] == "apiserver-etcd-client"]
    assert urls == ["https://127.0.0.1:2382/version", "https://127.0.0.1:2379/version"]
    assert loaded(node, tmp_path).components[0].name == "etcd-events"


def test_a_pair_that_is_mounted_as_single_files_is_restarted(
    node: KubeadmNode, tmp_path: Path
) -> None:
    manifest = node.manifests / f"{API}.yaml"
    pod = yaml.safe_load(manifest.read_text())
    for end in ("crt", "key"):
        path = f"{node.pki}/apiserver.{end}"
        pod["spec"]["volumes"].append({"name": end, "hostPath": {"path": path, "type": "File"}})
        mount = {"name": end, "mountPath": path}
        pod["spec"]["containers"][0]["volumeMounts"].append(mount)
    manifest.write_text(yaml.safe_dump(pod))
    activation = data_of(node)["components"][API]["activation"]
    assert activation["restart"]["static_pod"]["name"] == API
    assert "mounted into the container as single files" in words_of(node)
    assert loaded(node, tmp_path).components


def test_a_kubeconfig_that_names_files_stays_and_its_files_are_kept(
    node: KubeadmNode, tmp_path: Path
) -> None:
    pairs_by_file(node, "scheduler.conf", "apiserver-kubelet-client")
    node.edit(SCHEDULER, f"path: {node.folder}/scheduler.conf", f"path: {node.folder}")
    node.edit(SCHEDULER, f"mountPath: {node.folder}/scheduler.conf", f"mountPath: {node.folder}")
    node.edit(API, "--kubelet-client-certificate=", "--x=")
    node.edit(API, "--kubelet-client-key=", "--y=")
    section = data_of(node)["components"][SCHEDULER]
    assert section["certificates"]["scheduler"]["material"] == "kubeconfig-pair"
    assert outputs(section) == [
        {"certificate": f"{node.pki}/apiserver-kubelet-client.crt"},
        {"key": f"{node.pki}/apiserver-kubelet-client.key"},
    ]
    assert section["reads"] == [
        {"path": f"{node.folder}/scheduler.conf", "material": "kubeconfig"},
        {"path": f"{node.pki}/ca.crt", "material": "kubeconfig-ca"},
    ]
    assert loaded(node, tmp_path).components


def test_an_identity_that_two_components_use_belongs_to_the_first(node: KubeadmNode) -> None:
    pairs_by_file(node, "scheduler.conf", "apiserver-kubelet-client")
    node.edit(SCHEDULER, f"path: {node.folder}/scheduler.conf", f"path: {node.folder}")
    node.edit(SCHEDULER, f"mountPath: {node.folder}/scheduler.conf", f"mountPath: {node.folder}")
    assert SCHEDULER not in data_of(node)["components"]
    assert f"{SCHEDULER} holds no certificate of its own; it is passed over" in words_of(node)


def test_one_pair_for_clients_and_peers_is_one_certificate(node: KubeadmNode) -> None:
    for end in ("crt", "key"):
        node.edit(ETCD, f"etcd/peer.{end}", f"etcd/server.{end}")
    certificates = data_of(node)["components"][ETCD]["certificates"]
    assert set(certificates) == {"etcd-server", "etcd-healthcheck-client"}
    assert "its peer files are those of certificate etcd-server" in words_of(node)


def test_a_kubeconfig_in_the_schedulers_own_configuration(node: KubeadmNode) -> None:
    config = node.folder / "scheduler.yaml"
    kubeconfig = f"{node.folder}/scheduler.conf"
    config.write_text(f"kind: X\nclientConnection:\n  kubeconfig: {kubeconfig}\n")
    before = data_of(node)["components"][SCHEDULER]["certificates"]
    for flag in ("authentication-kubeconfig", "authorization-kubeconfig"):
        node.edit(SCHEDULER, f"    - --{flag}={kubeconfig}\n", "")
    node.edit(SCHEDULER, f"--kubeconfig={kubeconfig}", f"--config={config}")
    node.edit(SCHEDULER, f"path: {kubeconfig}", f"path: {node.folder}")
    node.edit(SCHEDULER, f"mountPath: {kubeconfig}", f"mountPath: {node.folder}")
    assert data_of(node)["components"][SCHEDULER]["certificates"] == before


def test_pairs_for_names_are_proved_with_the_name(node: KubeadmNode, tmp_path: Path) -> None:
    for end in ("crt", "key"):
        (node.pki / f"sni.{end}").write_bytes((node.pki / f"apiserver.{end}").read_bytes())
    flag = f"    - --tls-sni-cert-key={node.pki}/sni.crt,{node.pki}/sni.key:api.example\n"
    node.edit(API, "    - --tls-cert-file", f"{flag}    - --tls-cert-file")
    section = data_of(node)["components"][API]
    assert section["certificates"]["apiserver-sni"]["material"] == "sni"
    proof = next(e["tls"] for e in section["proofs"] if e.get("tls", {}).get("server_name"))
    assert proof["certificate"] == "apiserver-sni"
    assert proof["server_name"] == "kubernetes"
    assert loaded(node, tmp_path).components


def test_variables_of_the_pod_are_filled_in_and_others_are_left_to_be_filled_in(
    node: KubeadmNode,
) -> None:
    before = data_of(node)["components"]
    node.edit(API, f"--tls-cert-file={node.pki}", "--tls-cert-file=$(PKI)")
    node.edit(
        API, "    name: kube-apiserver\n", f"{ENV}    name: kube-apiserver\n".format(node.pki)
    )
    assert data_of(node)["components"] == before
    node.edit(API, "$(PKI)", "$(OTHER)")
    assert "apiserver" not in data_of(node)["components"][API]["certificates"]
    told = "not found on this node: the value of $(OTHER)/apiserver.crt (--tls-cert-file); fill in"
    assert told in words_of(node)


ENV = "    env:\n    - name: PKI\n      value: {}\n"


def test_a_token_is_nothing_to_rotate(node: KubeadmNode) -> None:
    path = node.folder / "scheduler.conf"
    data = yaml.safe_load(path.read_text())
    data["users"][0]["user"] = {"token": "s3cret"}
    path.write_text(yaml.safe_dump(data))
    words = words_of(node)
    assert SCHEDULER not in data_of(node)["components"]
    assert "s3cret" not in words
    assert f"{path} logs in with its token; there is no certificate" in words


def test_what_a_kubeconfig_would_lose_is_told(node: KubeadmNode) -> None:
    path = node.folder / "admin.conf"
    data = yaml.safe_load(path.read_text())
    data["contexts"][0]["name"] = data["current-context"] = "prod"
    data["contexts"][0]["context"]["namespace"] = "team"
    data["clusters"][0]["cluster"]["tls-server-name"] = "api"
    data["users"].append({"name": "other", "user": {"token": "s3cret"}})
    path.write_text(yaml.safe_dump(data))
    words = words_of(node)
    assert "the context is called kubernetes-admin@kubernetes from then on" in words
    assert "only the current one of its users is kept" in words
    assert "the context's namespace is not kept; tls-server-name is not kept" in words


def test_other_pods_are_named_and_passed_over(node: KubeadmNode) -> None:
    pod = "kind: Pod\nmetadata: {name: vip}\nspec: {containers: [{name: vip, image: vip}]}\n"
    (node.manifests / "vip.yaml").write_text(pod)
    (node.manifests / ".kube-apiserver.yaml.swp").write_text("no yaml: [")
    words = words_of(node)
    assert f"{node.manifests}/vip.yaml runs no program that certrotd knows" in words


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_owners_and_modes_are_those_of_the_files_unless_they_are_unsafe(
    node: KubeadmNode, tmp_path: Path
) -> None:
    key = node.pki / "etcd" / "server.key"
    os.chown(key, 0, 12345)
    key.chmod(0o640)
    (node.pki / "etcd" / "peer.key").chmod(0o644)
    certificates = data_of(node)["components"][ETCD]["certificates"]
    assert certificates["etcd-server"]["outputs"][1] == {
        "key": str(key),
        "mode": "0640",
        "group": "12345",
    }
    assert certificates["etcd-peer"]["outputs"][1]["mode"] == "0640"
    assert "etcd/peer.key has mode 0644; 0640 follows, which is safe" in words_of(node)
    assert loaded(node, tmp_path).components


@pytest.mark.parametrize(
    "files",
    [
        {"config.yaml": "containerRuntimeEndpoint: unix:///run/crio.sock\nhealthzPort: 10333\n"},
        {
            "config.yaml": "containerRuntimeEndpoint: ''\nhealthzPort: 10333\n",
            "instance-config.yaml": "containerRuntimeEndpoint: unix:///run/crio.sock\n",
        },
        {
            "config.yaml": "healthzPort: 10333\n",
            "kubeadm-flags.env": 'KUBELET_KUBEADM_ARGS="--x --container-runtime-endpoint='
            'unix:///run/crio.sock --y=z"\n',
        },
    ],
)
def test_the_kubelets_own_configuration_tells_how_it_is_asked(
    files: dict[str, str], node: KubeadmNode, tmp_path: Path
) -> None:
    data = yaml.safe_load(document(look(node, Elsewhere(**files)), Wishes()))
    pod = data["components"][SCHEDULER]["activation"]["auto"]["restart"]["static_pod"]
    assert pod["runtime_endpoint"] == "/run/crio.sock"
    assert pod["kubelet_health"] == "127.0.0.1:10333"
    del tmp_path


def test_a_kubelet_that_answers_nobody_is_not_asked(node: KubeadmNode) -> None:
    local = Elsewhere(**{"config.yaml": "healthzPort: 0\nstaticPodPath: /srv/pods\n"})
    assert not look(node, local).kubelet.health
    assert kubelet(local).manifests == "/srv/pods"


def test_the_ca_of_the_api_server_is_kept_where_it_is_not_the_issuers(
    node: KubeadmNode, tmp_path: Path
) -> None:
    path = node.folder / "scheduler.conf"
    data = yaml.safe_load(path.read_text())
    foreign = (node.pki / "front-proxy-ca.crt").read_bytes()
    cluster = data["clusters"][0]["cluster"]
    cluster["certificate-authority-data"] = base64.b64encode(foreign).decode()
    path.write_text(yaml.safe_dump(data))
    output = outputs(data_of(node)["components"][SCHEDULER])[0]
    assert output["ca_file"] == f"{node.pki}/front-proxy-ca.crt"
    assert "The process must be able to read that" in words_of(node)
    assert loaded(node, tmp_path).components
    del cluster["certificate-authority-data"]
    cluster["certificate-authority"] = f"{node.pki}/ca.crt"
    path.write_text(yaml.safe_dump(data))
    assert outputs(data_of(node)["components"][SCHEDULER])[0]["ca_file"] == f"{node.pki}/ca.crt"


def test_kube_proxy_with_a_certificate(node: KubeadmNode, tmp_path: Path) -> None:
    (node.folder / "proxy.conf").write_bytes((node.folder / "scheduler.conf").read_bytes())
    config = node.folder / "proxy.yaml"
    config.write_text(f"clientConnection: {{kubeconfig: {node.folder}/proxy.conf}}\n")
    pod = {
        "kind": "Pod",
        "metadata": {"name": "kube-proxy", "namespace": "kube-system"},
        "spec": {
            "containers": [
                {
                    "name": "kube-proxy",
                    "command": ["kube-proxy", f"--config={config}"],
                    "volumeMounts": [{"name": "all", "mountPath": str(node.folder)}],
                }
            ],
            "volumes": [{"name": "all", "hostPath": {"path": str(node.folder)}}],
        },
    }
    (node.manifests / "kube-proxy.yaml").write_text(yaml.safe_dump(pod))
    section = data_of(node)["components"]["kube-proxy"]
    assert section["after"] == [API]
    assert section["gates"] == [{"tcp": {"address": "127.0.0.1:10256"}}]
    assert outputs(section)[0]["kubeconfig"] == f"{node.folder}/proxy.conf"
    assert {"path": str(config), "material": "configuration"} in section["reads"]
    assert loaded(node, tmp_path).components
