"""What real servers say of their version, and kube-apiserver of its loopback certificate."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.clock import SystemClock
from certrotd.adapters.probes.version import HttpVersion, LoopbackCertificate
from certrotd.adapters.processes import UnitVersion, systemd
from certrotd.core.model import RuntimeFacts
from tests.adapters.identities import admin_of, etcd_ca, etcd_client, kubernetes_ca
from tests.testbed.catalogue import SERVERS
from tests.testbed.inventory import APISERVER, CONTROLLER_MANAGER, ETCD, SCHEDULER

if TYPE_CHECKING:
    from tests.testbed.controlplane import ControlPlane

pytestmark = pytest.mark.servers


def test_kubernetes_tells_its_version_as_json_and_as_metrics(plane: ControlPlane) -> None:
    ca, admin = kubernetes_ca(plane), admin_of(plane)
    wanted = f"v{SERVERS[APISERVER].version}"
    ports = plane.ports
    urls = (
        f"{ports.api}/version",
        f"{ports.api}/metrics",
        f"https://127.0.0.1:{ports.controller_manager}/metrics",
        f"https://127.0.0.1:{ports.scheduler}/metrics",
    )
    for url in urls:
        facts = HttpVersion(url, ca, admin).read()
        assert facts == RuntimeFacts(version=wanted, detail=f"{wanted} (GET {url})")


def test_etcd_tells_its_version_as_json_and_as_metrics(plane: ControlPlane) -> None:
    for path in ("version", "metrics"):
        url = f"https://127.0.0.1:{plane.ports.etcd}/{path}"
        facts = HttpVersion(url, etcd_ca(plane), etcd_client(plane)).read()
        assert facts.version == SERVERS[ETCD].version, facts.detail


def test_versions_that_are_not_told_say_why(plane: ControlPlane) -> None:
    ca, url = kubernetes_ca(plane), plane.ports.api
    anonymous = HttpVersion(f"{url}/metrics", ca).read()
    assert anonymous.version is None
    assert anonymous.detail.startswith(f"{url}/metrics: 403: the certificate's user may not get it")
    other = HttpVersion(f"{url}/readyz", ca).read()
    assert other == RuntimeFacts(detail=f"{url}/readyz: the answer tells no version")
    stranger = HttpVersion(f"{url}/version", etcd_ca(plane)).read()
    assert "its certificate is not trusted" in stranger.detail


def test_the_loopback_certificate_is_seen_and_made_anew_by_a_restart(plane: ControlPlane) -> None:
    loopback = LoopbackCertificate(f"127.0.0.1:{plane.ports.apiserver}")
    first = loopback.read().loopback_ends
    assert first
    left = first - SystemClock().now()
    assert timedelta(days=3 * 365) < left <= timedelta(days=3 * 365 + 1)
    plane.restart(APISERVER)
    second = loopback.read().loopback_ends
    assert second
    assert second > first


def test_another_server_has_no_loopback_certificate(plane: ControlPlane) -> None:
    address = f"127.0.0.1:{plane.ports.etcd}"
    facts = LoopbackCertificate(address).read()
    assert facts.loopback_ends is None
    assert facts.detail == f"{address}: presents CN=node-0, not its loopback certificate"
    assert LoopbackCertificate("127.0.0.1:1").read().detail == "127.0.0.1:1: connection refused"


@pytest.mark.parametrize("name", [ETCD, APISERVER, CONTROLLER_MANAGER, SCHEDULER])
def test_running_servers_tell_their_version_by_their_program(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(systemd, "main_process", lambda _unit: plane.pid(name))
    facts = UnitVersion("it.service").read()
    assert facts.version is not None
    assert facts.version.removeprefix("v") == SERVERS[name].version
