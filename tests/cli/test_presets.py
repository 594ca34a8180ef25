"""`certrotd presets`: what is known, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from certrotd.cli import cli


def presets(*arguments: str) -> str:
    done = CliRunner().invoke(cli, ["presets", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_the_matrix_is_shown_whole_for_people() -> None:
    lines = presets("show").splitlines()
    assert lines[0].split() == ["PROGRAM", "MATERIAL", "RELEASES", "RELOADS", "HOW"]
    told = [" ".join(line.split()) for line in lines]
    assert "kube-apiserver etcd-ca all restart read at the start only" in told
    assert "kube-apiserver serving from 1.23 within 1s watched with inotify" in told
    assert "kube-apiserver serving 1.17 to 1.22 within 1m30s read again each minute" in told


def test_one_program_is_shown_with_flags_proofs_and_sources() -> None:
    text = presets("show", "etcd")
    assert "--trusted-ca-file" in text
    assert "seen by: the leaf served at a handshake" in text
    assert "source:  etcd-io/etcd#11555" in text
    assert "kube-" not in text


@pytest.mark.parametrize(("release", "reloads"), [("v1.36.2", True), ("1.35.4", False)])
def test_a_release_chooses_the_rows_that_hold_for_it(release: str, *, reloads: bool) -> None:
    rows = json.loads(presets("show", "kube-apiserver", "--version", release, "-o", "json"))
    (kubelet_ca,) = [each for each in rows if each["material"] == "kubelet-ca"]
    assert kubelet_ca["reloads"] is reloads
    assert kubelet_ca["within_seconds"] == (360 if reloads else None)
    assert kubelet_ca["flags"] == ["--kubelet-certificate-authority"]


def test_json_and_yaml_hold_the_same() -> None:
    assert yaml.safe_load(presets("show", "-o", "yaml")) == json.loads(
        presets("show", "-o", "json")
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["show", "kube-apisrver"], "there is no program kube-apisrver"),
        (["show", "--version", "1.36.2"], "--version needs a PROGRAM"),
        (["show", "etcd", "--version", "newest"], "newest is no release"),
        (["show", "--layout", "kubeadmin"], "there is no layout kubeadmin"),
        (["show", "etcd", "--layout", "kubeadm"], "--layout goes with neither"),
    ],
)
def test_what_is_not_known_is_refused(arguments: list[str], told: str) -> None:
    done = CliRunner().invoke(cli, ["presets", *arguments])
    assert done.exit_code == 2
    assert told in done.output


def test_layouts_are_listed_and_printed_as_they_stand() -> None:
    listed = json.loads(presets("layouts", "-o", "json"))
    assert [each["layout"] for each in listed] == ["kubeadm", "standalone", "split"]
    assert listed[0]["about"] in presets("layouts")
    document = Path("certrotd/presets/layouts/kubeadm.yaml").read_text()
    assert presets("show", "--layout", "kubeadm") == document
    assert json.loads(presets("show", "--layout", "kubeadm", "-o", "json"))["facts"]


def test_a_shown_configuration_says_where_each_value_comes_from_and_is_still_one() -> None:
    arguments = ["config", "show", "-c", "config/presets/split.yaml"]
    plain = CliRunner().invoke(cli, arguments, catch_exceptions=False).output
    traced = CliRunner().invoke(cli, [*arguments, "--origin"], catch_exceptions=False).output
    assert yaml.safe_load(traced) == yaml.safe_load(plain)
    assert "settle: 10s  # preset standalone:" in traced
    assert "grace: 2s  # default" in traced
    assert "address: https://vault.example:8200  # config/presets/split.yaml:" in traced
    values = [line for line in traced.splitlines() if not line.rstrip().endswith((":", "- tls:"))]
    assert all("  # " in line for line in values)

    rows = json.loads(
        CliRunner()
        .invoke(cli, [*arguments, "--origin", "-o", "json"], catch_exceptions=False)
        .output
    )
    assert len(rows) == len(values)
    assert {"key": "limits.grace", "value": "2s", "origin": "default"} in rows
