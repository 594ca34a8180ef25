"""What every Gate does, the fake one included."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.kubelet import HealthGate
from certrotd.adapters.probes import HttpGate, TcpGate
from certrotd.adapters.probes.apiserver import ApiserverGate
from certrotd.adapters.probes.etcd import EtcdGate
from certrotd.adapters.probes.lease import LeaseGate
from certrotd.adapters.processes import CommandGate
from certrotd.core.model import OutputKind
from tests.adapters.identities import admin_of, etcd_ca, etcd_client, kubernetes_ca
from tests.adapters.listeners import Listener, TlsServer, healthz, lab_of_today, put
from tests.factories import make_spec
from tests.fakes.gate import FakeGate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from certrotd.ports import Gate
    from tests.testbed.controlplane import ControlPlane

LIMIT = timedelta(seconds=20)


@dataclass(frozen=True)
class Cases:
    """One kind of gate, open and closed."""

    open: Gate
    closed: Gate


SERVERS = [pytest.param(each, marks=pytest.mark.servers) for each in ("etcd", "api", "lease")]


@pytest.fixture(params=["fake", "tcp", "https", "command", "kubelet", *SERVERS])
def cases(request: pytest.FixtureRequest) -> Cases:
    kind = "real" if request.param in ("etcd", "api", "lease") else "simple"
    made: dict[str, Cases] = request.getfixturevalue(kind)
    return made[request.param]


@pytest.fixture
def real(plane: ControlPlane, unused: str) -> dict[str, Cases]:
    """Gates of real servers; the closed ones ask where nobody listens."""
    ca, admin, url = kubernetes_ca(plane), admin_of(plane), plane.ports.api
    etcd = partial(EtcdGate, ca_file=etcd_ca(plane), client=etcd_client(plane))
    return {
        "etcd": Cases(etcd(f"127.0.0.1:{plane.ports.etcd}"), etcd(unused)),
        "api": Cases(
            ApiserverGate(url, ca, admin, ("/api/v1/nodes",)),
            ApiserverGate(f"https://{unused}", ca, admin),
        ),
        "lease": Cases(
            LeaseGate(url, "kube-scheduler", ca, admin), LeaseGate(url, "nobody's", ca, admin)
        ),
    }


@pytest.fixture
def unused() -> Iterator[str]:
    """An address where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def simple(tmp_path: Path, unused: str) -> Iterator[dict[str, Cases]]:
    pair = put(lab_of_today().issue(make_spec(tmp_path)))
    ca = next(each.path for each in pair.spec.outputs if each.kind is OutputKind.CA)
    with Listener(TlsServer(pair)) as listener, Listener(healthz) as kubelet:
        address = listener.address
        yield {
            "fake": Cases(FakeGate(), FakeGate(is_open=False)),
            "tcp": Cases(TcpGate(address), TcpGate(unused)),
            "https": Cases(HttpGate(f"https://{address}/", ca), HttpGate(f"https://{unused}/", ca)),
            "command": Cases(
                CommandGate(("/bin/true",), LIMIT), CommandGate(("/bin/false",), LIMIT)
            ),
            "kubelet": Cases(HealthGate(kubelet.address), HealthGate(unused)),
        }


def test_an_open_gate_holds_each_time(cases: Cases) -> None:
    assert cases.open.check().holds
    assert cases.open.check().holds


def test_a_closed_gate_does_not_hold(cases: Cases) -> None:
    assert not cases.closed.check().holds


def test_a_gate_says_nothing_about_certificates(cases: Cases) -> None:
    for gate in (cases.open, cases.closed):
        evidence = gate.check()
        assert evidence.certificate is None
        assert evidence.served is None
        assert not evidence.stale


def test_the_detail_is_one_printable_line_for_a_person(cases: Cases) -> None:
    for gate in (cases.open, cases.closed):
        evidence = gate.check()
        assert evidence.source
        assert evidence.detail.isprintable()
