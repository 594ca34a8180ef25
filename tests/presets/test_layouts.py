"""The layouts: complete inventories, of which kubeadm's is what kubeadm itself makes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from certrotd.config import load
from certrotd.config.facts import flattened
from certrotd.config.section import bare, is_section, kinds
from certrotd.config.settings import Preset
from certrotd.core import render, x509
from certrotd.core.model import (
    CertificateSpec,
    Output,
    OutputKind,
    ParsedCertificate,
    Secret,
    StoredFile,
)
from certrotd.core.reloading import ChangedFile, decide
from certrotd.presets import LAYOUTS, layout_text, matrix, programs
from tests.config_text import write
from tests.factories import NOW
from tests.testbed import build

ISSUERS = """\
issuers:
  kubernetes: {ca: {certificate: /lab/k.crt, key: /lab/k.key}}
  etcd: {ca: {certificate: /lab/e.crt, key: /lab/e.key}}
  front-proxy: {ca: {certificate: /lab/f.crt, key: /lab/f.key}}
"""
EVERYTHING = {
    "kubeadm": "etcd, kube-apiserver, kube-controller-manager, kube-scheduler, admin, super-admin",
    "standalone": "etcd-events, etcd, kube-apiserver, kube-controller-manager, kube-scheduler, "
    "kube-proxy, admin",
}
KUBEADM_FILES = """\
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {{advertiseAddress: 10.0.0.11, bindPort: 6443}}
nodeRegistration: {{name: master-1, criSocket: "unix:///run/containerd/containerd.sock"}}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v1.37.2
certificatesDir: {directory}/pki
controlPlaneEndpoint: api.example:8443
networking: {{serviceSubnet: 10.96.0.0/12, dnsDomain: cluster.example}}
apiServer: {{certSANs: [api.internal, 10.0.0.10]}}
etcd: {{local: {{serverCertSANs: [etcd.example], peerCertSANs: [etcd.example]}}}}
"""


def whole(layout: str, folder: Path, more: str = "") -> dict[str, CertificateSpec]:
    """Return every certificate of a layout with all its components."""
    text = (
        f"node: master-1\npreset:\n  layout: {layout}\n  components: [{EVERYTHING[layout]}]\n"
        f"  advertise_address: 10.0.0.11\n  service_ip: 10.96.0.1\n{more}{ISSUERS}"
    )
    config = load(write(folder, text))
    assert ", ".join(each.name for each in config.components) == EVERYTHING[layout]
    return {str(spec.name): spec for each in config.components for spec in each.certificates}


def documents() -> list[dict[str, Any]]:
    return [yaml.safe_load(layout_text(name)) for name in LAYOUTS]


def test_the_facts_of_the_layouts_are_the_keys_of_the_section_preset() -> None:
    known: set[str] = set()
    for key, kind in kinds(Preset).items():
        inner = bare(kind)
        known |= {f"{key}.{each}" for each in kinds(inner)} if is_section(inner) else {key}
    facts = {name for each in documents() for name in flattened(each["facts"])}
    assert facts == known - {"layout", "components"}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_fact_of_a_layout_is_used_in_it(name: str) -> None:
    text = layout_text(name)
    document = yaml.safe_load(text)
    if "components" not in document:
        text = layout_text(document["base"]) + text
    used = set(re.findall(r"\$\{([a-z_.]+)\}", text))
    if used & {"control_plane_dns_names", "control_plane_ip_addresses"}:
        used.add("control_plane_endpoint")
    if "advertise_host" in used:
        used.add("advertise_address")
    assert set(flattened(document["facts"])) <= used


@pytest.mark.parametrize("name", EVERYTHING)
def test_certificates_have_the_usages_of_what_they_are_to_the_program(
    name: str, tmp_path: Path
) -> None:
    whole(name, tmp_path)
    looked_at = 0
    for component in load(tmp_path / "certrotd.yaml").components:
        about = programs().get(component.program)
        for spec in component.certificates:
            for pair in about.pairs if about else ():
                if pair.material == spec.outputs[0].material:
                    assert spec.usages == pair.usages, spec.name
                    looked_at += 1
    assert looked_at >= 7


@pytest.mark.parametrize(
    ("name", "restarted"),
    [
        ("kubeadm", {"kube-controller-manager", "kube-scheduler"}),
        ("standalone", set()),
    ],
)
def test_what_a_daily_rotation_restarts(name: str, restarted: set[str], tmp_path: Path) -> None:
    """A kubeconfig that names files is rewritten with the same bytes: only its pair changes."""
    whole(name, tmp_path)
    found = set()
    for component in load(tmp_path / "certrotd.yaml").components:
        files = tuple(
            ChangedFile(path=output.path, material=output.material, remaining=None)
            for spec in component.certificates
            for output in spec.outputs
            if output.material != "kubeconfig"
        )
        version = (3, 6, 16) if component.program == "etcd" else (1, 37, 2)
        if (
            component.program
            and decide(matrix(), component.program, version, files, None, NOW).restart
        ):
            found.add(str(component.name))
    assert found == restarted


def test_serving_pairs_of_a_standalone_master_name_the_node(tmp_path: Path) -> None:
    found = whole("standalone", tmp_path)
    for name in ("controller-manager-serving", "scheduler-serving"):
        assert found[name].dns_names == ("localhost", "master-1")
        assert [*map(str, found[name].ip_addresses)] == ["127.0.0.1", "10.0.0.11"]
    assert found["kube-proxy"].common_name == "system:kube-proxy"
    assert found["etcd-events-server"].outputs[0].path == "/etc/etcd-events/pki/server.crt"
    assert found["etcd-peer"].outputs[1].path == "/etc/etcd/pki/peer.key"


def leaf_of(output: Output) -> ParsedCertificate:
    content = Path(output.path).read_bytes()
    if output.kind is OutputKind.KUBECONFIG:
        chain = render.identity((StoredFile(output=output, content=Secret(content)),)).chain
        return x509.parse_certificate(chain[0])
    return x509.parse_certificate(x509.split_pem(content)[0])


@pytest.mark.servers
def test_the_kubeadm_layout_is_what_kubeadm_makes(tmp_path: Path) -> None:
    directory = tmp_path / "kubernetes"
    settings = write(tmp_path, KUBEADM_FILES.format(directory=directory), "kubeadm.yaml")
    for phase in (["certs", "all"], ["kubeconfig", "all", "--kubeconfig-dir", str(directory)]):
        command = [str(build.ensure("kubeadm")), "init", "phase", *phase]
        command += ["--config", str(settings)]
        subprocess.run(command, check=True, capture_output=True)
    found = whole(
        "kubeadm",
        tmp_path,
        "  control_plane_endpoint: api.example:8443\n"
        "  dns_domain: cluster.example\n"
        "  dns_names: [api.internal]\n"
        "  ip_addresses: [10.0.0.10]\n"
        "  etcd_dns_names: [etcd.example]\n"
        "  kubelet_client_organizations: []\n"
        f"  kubernetes_directory: {directory}\n",
    )
    made = {str(each) for each in directory.rglob("*") if each.suffix in (".crt", ".conf")}
    authorities = {str(each) for each in directory.rglob("*ca.crt")}
    kept = {spec.outputs[0].path: spec for spec in found.values()}
    assert kept.keys() == made - authorities - {f"{directory}/kubelet.conf"}
    for path, spec in kept.items():
        leaf = leaf_of(spec.outputs[0])
        assert leaf.common_name == spec.common_name, path
        assert leaf.organizations == spec.organizations, path
        assert set(leaf.dns_names) == set(spec.dns_names), path
        assert set(leaf.ip_addresses) == set(spec.ip_addresses), path
        extended = {str(each) for each in spec.usages if each.extended}
        assert set(leaf.extended_usages) == extended, path
        kubeconfig = spec.outputs[0].kubeconfig
        if kubeconfig is not None:
            document = yaml.safe_load(Path(path).read_text())
            assert document["clusters"][0]["cluster"]["server"] == kubeconfig.server, path
            assert document["clusters"][0]["name"] == kubeconfig.cluster, path
            assert document["users"][0]["name"] == kubeconfig.user, path
