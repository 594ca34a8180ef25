"""Nodes that cannot become a configuration: every fault with its place, and nothing is written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.discovery.commands import init

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.discovery.kubeadm import KubeadmNode

pytestmark = pytest.mark.servers
API, ETCD = "kube-apiserver", "etcd"


def no_yaml(node: KubeadmNode) -> None:
    node.edit(API, "spec:\n", "spec: [\n")


def no_pod(node: KubeadmNode) -> None:
    node.edit(API, "kind: Pod", "kind: Deployment")


def no_text(node: KubeadmNode) -> None:
    (node.manifests / f"{API}.yaml").write_bytes(b"kind: Pod\n\xff\xfe")


def no_containers(node: KubeadmNode) -> None:
    node.edit(API, "  containers:", "  initContainers:")


def a_copy_beside_it(node: KubeadmNode) -> None:
    manifest = node.manifests / f"{API}.yaml"
    (node.manifests / f"{API}.yaml.bak").write_text(manifest.read_text())


def etcd_twice(node: KubeadmNode) -> None:
    (node.manifests / "z.json").write_text((node.manifests / f"{ETCD}.yaml").read_text())


def missing_certificate(node: KubeadmNode) -> None:
    (node.pki / "apiserver.crt").unlink()


def missing_kubeconfig(node: KubeadmNode) -> None:
    (node.folder / "scheduler.conf").unlink()


def missing_ca(node: KubeadmNode) -> None:
    (node.pki / "front-proxy-ca.crt").unlink()


def missing_key_flag(node: KubeadmNode) -> None:
    node.edit(API, f"    - --etcd-keyfile={node.pki}/apiserver-etcd-client.key\n", "")


def no_certificate(node: KubeadmNode) -> None:
    (node.pki / "etcd" / "peer.crt").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n")


def foreign_key(node: KubeadmNode) -> None:
    (node.pki / "apiserver.key").write_bytes((node.pki / "sa.key").read_bytes())


def broken_kubeconfig(node: KubeadmNode) -> None:
    (node.folder / "controller-manager.conf").write_text("users: [{name: a, user: {token: s3cret")


def kubeconfig_without_context(node: KubeadmNode) -> None:
    (node.folder / "scheduler.conf").write_text("apiVersion: v1\nkind: Config\n")


def a_directory(node: KubeadmNode) -> None:
    (node.pki / "ca.crt").unlink()
    (node.pki / "ca.crt").mkdir()


def a_path_that_is_not_mounted(node: KubeadmNode) -> None:
    node.edit(ETCD, f"--peer-cert-file={node.pki}/etcd", "--peer-cert-file=/in/the/image")


def a_relative_path(node: KubeadmNode) -> None:
    node.edit(ETCD, f"--cert-file={node.pki}/etcd", "--cert-file=pki")


CASES: dict[str, tuple[Callable[[KubeadmNode], None], str, str, str]] = {
    # what is spoilt, the manifest, the text of the line that is named, and the message
    "no YAML": (no_yaml, API, "- command:", "is no YAML: "),
    "no Pod": (no_pod, API, "kind:", "kind: is Deployment where a Pod is expected"),
    "no text": (no_text, API, "", "is not UTF-8 text"),
    "no containers": (no_containers, API, "", "spec.containers: is missing"),
    "a backup in the folder": (a_copy_beside_it, f"{API}.yaml.bak", "", "so does"),
    "two etcd of one name": (etcd_twice, "z.json", "", "so does"),
    "certificate missing": (
        missing_certificate,
        API,
        "--tls-cert-file",
        "--tls-cert-file: names {pki}/apiserver.crt, which does not exist",
    ),
    "kubeconfig missing": (
        missing_kubeconfig,
        "kube-scheduler",
        "--kubeconfig",
        "--kubeconfig: names {folder}/scheduler.conf, which does not exist",
    ),
    "CA missing": (
        missing_ca,
        API,
        "--requestheader-client-ca-file",
        "--requestheader-client-ca-file: names {pki}/front-proxy-ca.crt, which does not exist",
    ),
    "key flag missing": (
        missing_key_flag,
        API,
        "--etcd-certfile",
        "--etcd-certfile: is given without --etcd-keyfile",
    ),
    "no certificate": (
        no_certificate,
        ETCD,
        "--peer-cert-file",
        "--peer-cert-file: names {pki}/etcd/peer.crt: the certificate cannot be used",
    ),
    "a foreign key": (
        foreign_key,
        API,
        "--tls-cert-file",
        "apiserver.crt: the private key does not belong to the certificate",
    ),
    "broken kubeconfig": (
        broken_kubeconfig,
        "kube-controller-manager",
        "--kubeconfig",
        "controller-manager.conf: is no YAML",
    ),
    "kubeconfig without a context": (
        kubeconfig_without_context,
        "kube-scheduler",
        "--kubeconfig",
        "is no kubeconfig with a current context",
    ),
    "a directory": (a_directory, API, "--client-ca-file", "which cannot be read: Is a directory"),
    "a path in the image": (
        a_path_that_is_not_mounted,
        ETCD,
        "--peer-cert-file",
        "names /in/the/image/peer.crt, which the container does not mount from the host",
    ),
    "a relative path": (a_relative_path, ETCD, "--cert-file", "is not an absolute path"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_fault_is_told_with_file_line_and_flag_and_nothing_is_written(
    case: str, master: KubeadmNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, manifest, line_of, message = CASES[case]
    node = master.copied(tmp_path / "kubernetes")
    spoil(node)
    target = tmp_path / "certrotd.yaml"
    outcome = init(capsys, "--from-kubeadm", "--manifests", node.manifests, "--output-file", target)
    assert outcome.code == 1
    assert not outcome.out
    assert not target.exists()
    file = node.manifests / (manifest if "." in manifest else f"{manifest}.yaml")
    place = f"{file}:{node.line(manifest, line_of)}: " if line_of else str(file)
    told = [line for line in outcome.err.splitlines() if place in line]
    wanted = message.format(pki=node.pki, folder=node.folder)
    assert any(wanted in line for line in told), outcome.err
    assert "s3cret" not in outcome.err
    assert "Traceback" not in outcome.err


def test_all_faults_are_told_at_once(
    master: KubeadmNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node = master.copied(tmp_path / "kubernetes")
    missing_certificate(node)
    foreign = node.pki / "etcd" / "server.key"
    foreign.write_bytes((node.pki / "sa.key").read_bytes())
    missing_kubeconfig(node)
    err = init(capsys, "--from-kubeadm", "--manifests", node.manifests).err
    assert "apiserver.crt" in err
    assert "etcd/server.crt" in err
    assert "scheduler.conf" in err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        ({}, "holds no manifest"),
        ({".hidden.yaml": ""}, "holds no manifest"),
        (
            {"vip.yaml": "kind: Pod\nmetadata: {name: vip}\nspec: {containers: [{name: vip}]}"},
            "no manifest in it runs a program that certrotd knows",
        ),
    ],
)
def test_a_folder_without_a_control_plane_is_none(
    content: dict[str, str] | None,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "manifests"
    if content is not None:
        folder.mkdir()
        for name, text in content.items():
            (folder / name).write_text(text)
    outcome = init(capsys, "--from-kubeadm", "--manifests", folder)
    assert outcome.code == 1
    assert f"{folder}: {message}" in outcome.err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_without_permission_every_file_that_cannot_be_read_is_named(
    master: KubeadmNode, capsys: pytest.CaptureFixture[str]
) -> None:
    with tempfile.TemporaryDirectory() as place:  # pytest's own folders are closed to others
        Path(place).chmod(0o755)
        node = master.copied(Path(place) / "kubernetes")
        for manifest in node.manifests.iterdir():
            manifest.chmod(0o644)
        arguments = ("--from-kubeadm", "--manifests", node.manifests)
        assert init(capsys, *arguments).code == 0  # and all that must be imported is
        os.seteuid(65534)
        try:
            outcome = init(capsys, *arguments)
        finally:
            os.seteuid(0)
    assert outcome.code == 1
    denied = "cannot be read: Permission denied"
    assert f"names {node.pki}/apiserver.key, which {denied}" in outcome.err
    assert f"{node.folder}/admin.conf: {denied}" in outcome.err
    assert not outcome.out
