"""What a good configuration becomes, and how it is shown."""

from __future__ import annotations

import json
import os
from datetime import time, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from certrotd.config import json_schema, load, shown
from certrotd.config.section import Section, bare, kinds
from certrotd.config.settings import Root
from certrotd.core.model import (
    ActivationKind,
    Component,
    KeyAlgorithm,
    Kubeconfig,
    OutputKind,
    Usage,
)
from tests.config_text import GOOD, faults, write

SAMPLE = Path("config/certrotd.yaml").resolve()
KUBECONFIG = GOOD.replace(
    "[{combined: /pki/etcd.pem}]", '[{kubeconfig: /pki/admin.conf, server: "https://api:6443"}]'
)


def only(text: str, tmp_path: Path) -> Component:
    """Load a configuration of one component."""
    (component,) = load(write(tmp_path, text)).components
    return component


def test_defaults_are_filled_in(tmp_path: Path) -> None:
    config = load(write(tmp_path, GOOD))
    (component,) = config.components
    (spec,) = component.certificates
    (output,) = spec.outputs
    assert config.node == os.uname().nodename
    assert config.path == tmp_path / "certrotd.yaml"
    assert (config.schedule.daily_at, config.schedule.splay) == (time(3, 17), timedelta(minutes=30))
    assert config.settings.vaults == {}
    assert (component.activation, component.activation_detail) == (ActivationKind.NONE, "nothing")
    assert (component.proof_deadline, component.settle) == (timedelta(minutes=1), timedelta(0))
    assert (spec.name, spec.component, spec.role) == ("server", "etcd", "server")
    assert (spec.key, spec.ttl) == (KeyAlgorithm.ECDSA_P256, timedelta(days=7))
    assert spec.usages == (Usage.SERVER_AUTH, Usage.CLIENT_AUTH)
    assert (output.kind, output.mode, output.uid, output.gid) == (
        OutputKind.COMBINED,
        0o600,
        None,
        None,
    )


def test_the_defaults_section_serves_certificates_and_outputs(tmp_path: Path) -> None:
    text = f"defaults: {{key: ed25519, ttl: 10d, owner: root, group: '7'}}\n{GOOD}"
    (spec,) = only(text, tmp_path).certificates
    assert (spec.key, spec.ttl) == (KeyAlgorithm.ED25519, timedelta(days=10))
    assert (spec.outputs[0].uid, spec.outputs[0].gid) == (0, 7)


@pytest.mark.parametrize(
    ("given", "kind", "detail"),
    [
        ("signal: {unit: a.service}", ActivationKind.SIGNAL, "SIGHUP to a.service"),
        ("signal: {pidfile: /run/a, signal: USR1}", ActivationKind.SIGNAL, "SIGUSR1 to /run/a"),
        ("restart: {unit: a.service}", ActivationKind.RESTART, "restart a.service"),
        ("exec: {command: [/bin/true, -x]}", ActivationKind.EXEC, "run true -x"),
    ],
)
def test_activations_are_told_apart(
    given: str, kind: ActivationKind, detail: str, tmp_path: Path
) -> None:
    component = only(GOOD.replace("none: {}", given), tmp_path)
    assert (component.activation, component.activation_detail) == (kind, detail)


def test_a_kubeconfig_takes_its_user_from_the_common_name(tmp_path: Path) -> None:
    (output,) = only(KUBECONFIG, tmp_path).certificates[0].outputs
    assert output.mode == 0o600
    assert output.kubeconfig == Kubeconfig(
        server="https://api:6443", cluster="kubernetes", user="etcd", embed=True
    )


def test_a_kubeconfig_that_names_files_is_no_secret(tmp_path: Path) -> None:
    text = KUBECONFIG.replace("outputs: [", "outputs: [{combined: /pki/a.pem}, ").replace(
        "6443", '6443", embed: "false'
    )
    _, output = only(text, tmp_path).certificates[0].outputs
    assert (output.secret, output.mode) == (False, 0o644)


def test_an_owner_may_be_left_to_the_process(tmp_path: Path) -> None:
    text = GOOD.replace("etcd.pem}", "etcd.pem, owner: '1000'}")
    (output,) = only(text, tmp_path).certificates[0].outputs
    assert (output.uid, output.gid) == (1000, None)


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    root = load(write(tmp_path, GOOD)).settings
    with pytest.raises(AttributeError, match="Root is frozen"):
        root.cluster = "other"  # type: ignore[misc]  # the point


# --- shown


@pytest.mark.parametrize("form", ["yaml", "json"])
@pytest.mark.parametrize("which", ["smallest", "sample", "kubeconfig"])
def test_what_is_shown_means_the_same_when_loaded_again(
    which: str, form: str, tmp_path: Path
) -> None:
    text = {"smallest": GOOD, "sample": SAMPLE.read_text(), "kubeconfig": KUBECONFIG}[which]
    first = load(write(tmp_path, text))
    data = shown(first)
    again = yaml.safe_dump(data, sort_keys=False) if form == "yaml" else json.dumps(data)
    second = load(write(tmp_path, again, "again.yaml"))
    assert second.components == first.components
    assert (second.node, second.schedule) == (first.node, first.schedule)
    assert shown(second) == data


def test_what_is_in_force_is_shown_with_the_defaults(tmp_path: Path) -> None:
    data: Any = shown(load(write(tmp_path, f"defaults: {{group: root}}\n{KUBECONFIG}")))
    certificate = data["components"]["etcd"]["certificates"]["server"]
    assert certificate["ttl"] == "7d"
    assert certificate["key"] == "ecdsa-p256"
    assert certificate["role"] == "server"
    assert certificate["outputs"] == [
        {
            "kubeconfig": "/pki/admin.conf",
            "mode": "0600",
            "group": "root",
            "server": "https://api:6443",
            "cluster": "kubernetes",
            "user": "etcd",
            "embed": True,
        }
    ]
    assert data["node"] == os.uname().nodename
    assert data["limits"]["workers"] == 4


def test_redacted_leaves_out_the_role_id_and_the_arguments_of_programs(tmp_path: Path) -> None:
    text = (
        "vaults:\n  main:\n    address: https://vault\n"
        "    auth: {approle: {role_id: canary-1, secret_id_file: /secret-id}}\n"
    ) + GOOD.replace(
        "{none: {}}",
        "{exec: {command: [/bin/curl, -H, canary-2], only_if: [/bin/test, canary-3]}}",
    ).replace(
        "    activation", "    gates: [{exec: {command: [/bin/true, canary-4]}}]\n    activation"
    )
    config = load(write(tmp_path, text))
    assert json.dumps(shown(config)).count("canary") == 4
    redacted = json.dumps(shown(config, redacted=True))
    assert "canary" not in redacted
    assert "/secret-id" in redacted
    assert '["/bin/curl", "<redacted>", "<redacted>"]' in redacted


# --- sample and schema


def sections(kind: Any = Root) -> set[type[Section]]:
    """Return all sections there are."""
    kind = bare(kind)
    found = {kind} if isinstance(kind, type) and issubclass(kind, Section) else set()
    inner = kinds(kind).values() if found else getattr(kind, "__args__", ())
    return found.union(*(sections(each) for each in inner))


def test_every_key_stands_in_the_sample() -> None:
    texts = [SAMPLE, SAMPLE.parent / "conf.d" / "haproxy.yaml.example"]
    text = "\n".join(each.read_text() for each in texts)
    keys = {key for section in sections() for key in kinds(section)}
    assert len(keys) > 80
    assert {key for key in keys if f"{key}:" not in text} == set()


def test_the_sample_is_a_whole_master() -> None:
    config = load(SAMPLE)
    assert [each.name for each in config.components] == [
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "admin",
    ]


def test_the_sample_of_conf_d_goes_with_the_sample(tmp_path: Path) -> None:
    path = write(tmp_path, SAMPLE.read_text())
    more = SAMPLE.parent / "conf.d" / "haproxy.yaml.example"
    write(tmp_path, more.read_text(), "conf.d/haproxy.yaml")
    assert faults(path) == []


def test_the_policy_allows_what_the_sample_asks_for_and_nothing_else() -> None:
    config = load(SAMPLE)
    wanted = set()
    for component in config.components:
        for spec in component.certificates:
            vault = config.settings.issuers[spec.issuer].vault
            assert vault is not None
            wanted.add(f'path "{vault.mount}/{vault.endpoint}/{spec.role}" {{')
    policy = (SAMPLE.parent / "vault-policy.hcl").read_text().splitlines()
    assert {line for line in policy if line.startswith("path")} == wanted
    rules = {line.strip() for line in policy if line and not line.startswith(("path", "#", "}"))}
    assert rules == {'capabilities = ["update"]'}


def test_the_schema_for_editors_is_up_to_date() -> None:
    stored = json.loads((SAMPLE.parent / "certrotd.schema.json").read_text())
    assert stored == json_schema(), "run: certrotd config schema > config/certrotd.schema.json"


def test_every_key_is_described_in_the_schema() -> None:
    schema: Any = json_schema()
    for section in [schema, *schema["$defs"].values()]:
        assert section["description"]
        for key, shape in section["properties"].items():
            assert shape["description"].endswith("."), key
