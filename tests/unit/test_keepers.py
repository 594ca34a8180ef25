"""What a component's section of the configuration becomes; nothing is asked and nobody told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.probes.apiserver import ApiserverGate
from certrotd.adapters.probes.etcd import EtcdGate, LeaderMovedFirst
from certrotd.adapters.probes.lease import LeaseGate
from certrotd.adapters.probes.version import HttpVersion, LoopbackCertificate
from certrotd.adapters.processes import (
    ProgramVersion,
    UnitRestart,
    UnitSignal,
    UnitVersion,
)
from certrotd.adapters.runtime import GivenVersion, ProcessRuntime
from certrotd.app import assemble
from certrotd.config import load
from certrotd.core.model import ComponentName
from tests.config_text import write
from tests.fakes.log import RecordingLog

if TYPE_CHECKING:
    from pathlib import Path

    from certrotd.rotator import Keeper

TEXT = """\
state_directory: {state}
issuers:
  lab: {{ca: {{certificate: /lab/ca.crt, key: /lab/ca.key}}}}
components:
  etcd:
    activation: {activation}
    proofs: [{{tls: {{address: "127.0.0.1:2379", certificate: server}}}}]
    gates: {gates}
    certificates:
      server:
        issuer: lab
        material: serving
        common_name: etcd
        dns_names: [localhost]
        usages: [server auth, client auth]
        outputs: [{{combined: /pki/etcd.pem}}]
"""
ETCD = "[{etcd: {endpoint: '127.0.0.1:2379', ca_file: /pki/ca.crt, client_certificate: server}}]"


def keeper(folder: Path, activation: str, gates: str = ETCD) -> Keeper:
    text = TEXT.format(state=folder / "state", activation=activation, gates=gates)
    app = assemble(load(write(folder, text)), RecordingLog())
    return app.world.keepers[ComponentName("etcd")]


@pytest.mark.parametrize(
    "activation",
    ["{restart: {unit: etcd.service}}", "{auto: {program: etcd, restart: {unit: etcd.service}}}"],
)
def test_an_etcd_with_its_gate_hands_over_before_a_restart(tmp_path: Path, activation: str) -> None:
    made = keeper(tmp_path, activation)
    (gate,) = made.gates
    assert isinstance(gate, EtcdGate)
    assert isinstance(made.service, LeaderMovedFirst)
    assert isinstance(made.service.service, UnitRestart)
    assert made.service.endpoint == gate.endpoint
    assert made.service.client == gate.client
    assert [each.path for each in gate.client] == ["/pki/etcd.pem"]


def test_a_signal_moves_no_leader(tmp_path: Path) -> None:
    made = keeper(tmp_path, "{signal: {unit: etcd.service}}")
    assert isinstance(made.service, UnitSignal)


def test_without_the_gate_nobody_knows_how_to_ask_etcd(tmp_path: Path) -> None:
    made = keeper(tmp_path, "{restart: {unit: etcd.service}}", "[]")
    assert isinstance(made.service, UnitRestart)
    assert made.gates == ()


def test_gates_of_kubernetes_have_what_their_sections_say(tmp_path: Path) -> None:
    gates = (
        "[{kube_apiserver: {url: 'https://a', ca_file: /c, client_certificate: server,"
        " resources: [/api/v1/nodes]}},"
        " {lease: {url: 'https://a', name: kube-scheduler, ca_file: /c, client_certificate: server,"
        " identity: me}}]"
    )
    made = keeper(tmp_path, "{restart: {unit: etcd.service}}", gates)
    server, lease = made.gates
    assert isinstance(server, ApiserverGate)
    assert server.resources == ("/api/v1/nodes",)
    assert server.client
    assert isinstance(lease, LeaseGate)
    assert (lease.namespace, lease.name, lease.identity) == ("kube-system", "kube-scheduler", "me")


def test_versions_are_asked_for_in_the_order_of_the_file(tmp_path: Path) -> None:
    activation = (
        "{auto: {program: etcd, restart: {unit: etcd.service}, loopback: '127.0.0.1:6443',"
        " version: [{https: {url: 'https://a/version', ca_file: /c}}, {binary: /bin/etcd},"
        " {unit: etcd.service}, {given: 3.6.16}]}}"
    )
    runtime = keeper(tmp_path, activation).runtime
    assert isinstance(runtime, ProcessRuntime)
    assert runtime.versions == (
        HttpVersion("https://a/version", "/c"),
        ProgramVersion("/bin/etcd"),
        UnitVersion("etcd.service"),
        GivenVersion("3.6.16"),
    )
    assert runtime.loopback == LoopbackCertificate("127.0.0.1:6443")


def test_only_auto_asks_the_process(tmp_path: Path) -> None:
    assert keeper(tmp_path, "{restart: {unit: etcd.service}}").runtime is None
