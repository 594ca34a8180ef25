"""`certrotd config init` as a command: its file, its words, its exit codes."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING

import pytest
import yaml

from certrotd.config import load
from tests.discovery.commands import init, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.discovery.kubeadm import KubeadmNode

pytestmark = pytest.mark.servers


def test_the_file_is_for_root_alone_and_valid_at_once(
    master: KubeadmNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "etc" / "certrotd" / "certrotd.yaml"
    before = os.umask(0)
    try:
        outcome = init(
            capsys, "--from-kubeadm", "--manifests", master.manifests, "--output-file", target
        )
    finally:
        os.umask(before)
    assert outcome.code == 0
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert list(target.parent.iterdir()) == [target]
    assert "5 components, 11 certificates" in outcome.out
    assert "6 places are left to you: grep -n 'fill in'" in outcome.out
    assert len(load(target).components) == 5


def test_standard_output_is_the_file_and_nothing_else(
    master: KubeadmNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "certrotd.yaml"
    arguments = ("--from-kubeadm", "--manifests", master.manifests)
    printed = init(capsys, *arguments)
    init(capsys, *arguments, "--output-file", target)
    assert not printed.err
    assert printed.out == target.read_text()


def test_a_file_that_is_there_is_replaced_only_when_told_so(
    master: KubeadmNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "certrotd.yaml"
    target.write_text("mine")
    arguments = ("--from-kubeadm", "--manifests", master.manifests, "--output-file", target)
    refused = init(capsys, *arguments)
    assert refused.code == 2
    assert "is there already; --force replaces it" in refused.err
    assert target.read_text() == "mine"
    assert init(capsys, *arguments, "--force").code == 0
    assert load(target).components


def test_a_link_that_leads_nowhere_is_something_that_is_there(
    master: KubeadmNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "certrotd.yaml"
    target.symlink_to(tmp_path / "nowhere")
    arguments = ("--from-kubeadm", "--manifests", master.manifests, "--output-file", target)
    assert init(capsys, *arguments).code == 2
    assert not (tmp_path / "nowhere").exists()


def test_what_is_said_on_the_command_line_is_not_left_to_be_filled_in(
    master: KubeadmNode, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = init(
        capsys,
        *("--from-kubeadm", "--manifests", master.manifests, "--cluster", "blue"),
        *("--vault-address", "https://vault.corp:8200", "--issuer-mount", "etcd=pki-etcd"),
    )
    data = yaml.safe_load(outcome.out)
    assert data["cluster"] == "blue"
    assert data["vaults"]["main"]["address"] == "https://vault.corp:8200"
    assert data["issuers"]["etcd"]["vault"]["mount"] == "pki-etcd"
    assert data["issuers"]["kubernetes"]["vault"]["mount"] == "pki/kubernetes"
    assert "vaults" not in yaml.safe_load(
        init(capsys, "--from-kubeadm", "--manifests", master.manifests, "--issuer", "ca").out
    )


def test_the_plan_works_at_once_and_asks_no_vault(
    master: KubeadmNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "certrotd.yaml"
    init(capsys, "--from-kubeadm", "--manifests", master.manifests, "--output-file", target)
    target.write_text(f"state_directory: {tmp_path}/state\n{target.read_text()}")
    outcome = run(capsys, "plan", "--force", "-o", "json", "-c", target)
    assert outcome.code == 0, outcome.err
    replaced = [each for step in json.loads(outcome.out)["steps"] for each in step["replace"]]
    assert len(replaced) == 11
    assert {r["reason"] for each in replaced for r in each["reasons"]} <= {"forced", "due"}


def test_nothing_secret_is_written(master: KubeadmNode, capsys: pytest.CaptureFixture[str]) -> None:
    out = init(capsys, "--from-kubeadm", "--manifests", master.manifests).out
    assert "PRIVATE KEY" not in out
    scheduler = yaml.safe_load((master.folder / "scheduler.conf").read_text())
    assert scheduler["users"][0]["user"]["client-key-data"][40:80] not in out


def test_what_a_configuration_cannot_have_is_told_at_once_and_the_file_is_there_to_be_mended(
    master: KubeadmNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node = master.copied(tmp_path / "kubernetes")
    admin = node.folder / "admin.conf"
    admin.write_text(admin.read_text().replace("server: https://", "server: http://"))
    target = tmp_path / "certrotd.yaml"
    outcome = init(capsys, "--from-kubeadm", "--manifests", node.manifests, "--output-file", target)
    assert outcome.code == 3
    assert f"{target}:" in outcome.err
    assert "components.admin.certificates.admin.outputs[0].server" in outcome.err
    assert "was written, but these faults must be mended first" in outcome.err
    assert "kube-apiserver" in target.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give one of --from-kubeadm and --from-systemd"),
        (("--from-kubeadm", "--from-systemd"), "give one of --from-kubeadm and --from-systemd"),
        (("--from-kubeadm", "etcd.service"), "units go with --from-systemd"),
        (("--from-kubeadm", "--vault-address", "http://vault:8200"), "is no https:// URL"),
        (("--from-kubeadm", "--issuer-mount", "pki/etcd"), "write ISSUER=MOUNT"),
        (("--from-kubeadm", "--issuer-mount", "etcd=/pki/"), "is no path in Vault"),
        (("--from-kubeadm", "--issuer-mount", "ectd=pki"), "there is no issuer ectd; there are"),
        (("--from-kubeadm", "--cluster", "a b"), "is no name"),
        (("--from-kubeadm", "--issuer", "pki"), "is not one of 'vault', 'ca'"),
    ],
)
def test_usage_errors(
    arguments: tuple[str, ...],
    message: str,
    master: KubeadmNode,
    capsys: pytest.CaptureFixture[str],
) -> None:
    outcome = init(capsys, *arguments, "--manifests", master.manifests)
    assert outcome.code == 2
    assert message in outcome.err
    assert not outcome.out


def test_the_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    told = init(capsys, "--help").out
    assert "certrotd config init --from-kubeadm --issuer ca --output-file" in told
    assert "systemctl enable --now certrotd" in told
