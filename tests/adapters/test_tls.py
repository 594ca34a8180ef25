"""The served leaf, looked at from outside."""

from __future__ import annotations

import socket
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.probes import TcpGate, TlsProof
from certrotd.core.model import OutputKind
from tests.adapters.listeners import Listener, TlsServer, expecting, lab_of_today, put
from tests.factories import make_client_spec, make_spec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from certrotd.core.model import Verified
    from tests.factories import Lab


@pytest.fixture(scope="module")
def lab() -> Lab:
    return lab_of_today()


@pytest.fixture
def pair(lab: Lab, tmp_path: Path) -> Verified:
    return put(lab.issue(make_spec(tmp_path)))


def unused_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"127.0.0.1:{probe.getsockname()[1]}"


def test_somebody_elses_leaf_is_foreign_and_not_stale(
    lab: Lab, pair: Verified, tmp_path: Path
) -> None:
    other = lab.issue(make_spec(tmp_path, "other"))
    (expected,) = expecting(other).values()
    wanted = {other.spec.name: replace(expected, subject=other.leaf.subject)}
    with Listener(TlsServer(pair)) as listener:
        evidence = TlsProof(listener.address, other.spec.name).check(wanted)
    assert evidence.foreign
    assert not evidence.stale
    assert evidence.detail.endswith("of CN=server.example: that is not CN=other.example")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_published_leaf_is_recognized(pair: Verified, host: str) -> None:
    with Listener(TlsServer(pair), host) as listener:
        evidence = TlsProof(listener.address, pair.spec.name).check(expecting(pair))
    assert evidence.holds
    assert not evidence.stale
    assert evidence.served == pair.leaf.serial
    assert evidence.detail == f"{listener.address} presents serial {pair.leaf.serial}"


def test_another_leaf_is_stale_and_both_serials_are_told(lab: Lab, pair: Verified) -> None:
    newer = lab.issue(pair.spec)  # never written: the listener cannot have it
    with Listener(TlsServer(pair)) as listener:
        evidence = TlsProof(listener.address, pair.spec.name).check(expecting(newer))
    assert not evidence.holds
    assert evidence.stale
    assert evidence.served == pair.leaf.serial
    assert evidence.detail.endswith(
        f"presents serial {pair.leaf.serial} (expected {newer.leaf.serial})"
    )


def test_each_look_is_a_fresh_handshake(lab: Lab, pair: Verified) -> None:
    with Listener(TlsServer(pair)) as listener:
        proof = TlsProof(listener.address, pair.spec.name)
        assert proof.check(expecting(pair)).holds
        newer = put(lab.issue(pair.spec))
        assert proof.check(expecting(newer)).served == newer.leaf.serial


def test_a_leaf_nobody_trusts_is_still_read(pair: Verified, tmp_path: Path) -> None:
    foreign = put(lab_of_today().issue(make_spec(tmp_path, "foreign", dns_names=("x.example",))))
    with Listener(TlsServer(foreign)) as listener:
        evidence = TlsProof(listener.address, pair.spec.name).check(expecting(pair))
    assert evidence.stale
    assert evidence.served == foreign.leaf.serial


def test_a_certificate_without_expectation_is_said_to_have_none(pair: Verified) -> None:
    with Listener(TlsServer(pair)) as listener:
        evidence = TlsProof(listener.address, pair.spec.name).check({})
    assert not evidence.holds
    assert not evidence.stale
    assert "nothing has been published as server yet" in evidence.detail


def test_nobody_listening_is_not_reachable_and_not_stale(pair: Verified) -> None:
    address = unused_address()
    evidence = TlsProof(address, pair.spec.name).check(expecting(pair))
    assert evidence.detail == f"{address}: connection refused"
    assert (evidence.holds, evidence.reachable, evidence.stale) == (False, False, False)


def test_a_name_that_does_not_resolve_is_told(pair: Verified) -> None:
    evidence = TlsProof(f"{'x' * 64}.invalid:1", pair.spec.name).check(expecting(pair))
    assert not evidence.reachable
    assert "is not a host name" in evidence.detail


def never_answering(channel: socket.socket) -> None:
    while channel.recv(4096):
        pass


def not_tls(channel: socket.socket) -> None:
    channel.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
    channel.recv(4096)


def hanging_up(channel: socket.socket) -> None:
    channel.recv(4096)


@pytest.mark.parametrize(
    ("serve", "told"),
    [
        (never_answering, "no answer within 0.2 s"),
        (not_tls, "TLS: wrong version number"),
        (hanging_up, "the server hung up"),
    ],
)
def test_a_listener_that_does_not_speak_tls_is_told_in_words(
    pair: Verified, serve: Callable[[socket.socket], None], told: str
) -> None:
    with Listener(serve) as listener:
        evidence = TlsProof(listener.address, pair.spec.name, timeout=0.2).check(expecting(pair))
    assert told in evidence.detail
    assert (evidence.holds, evidence.reachable, evidence.stale) == (False, True, False)


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_certificate_is_presented_where_the_server_insists(
    lab: Lab, pair: Verified, tmp_path: Path, newest: ssl.TLSVersion
) -> None:
    client = put(lab.issue(make_client_spec(tmp_path)))
    server = TlsServer(pair, client_ca=lab.certificate, newest=newest)
    with Listener(server) as listener:
        proof = TlsProof(listener.address, pair.spec.name, client=client.spec.outputs)
        assert proof.check(expecting(pair)).holds
    assert [int(each, 16) for each in server.peers] == [int(client.leaf.serial, 16)]


def test_a_server_that_insists_in_tls_1_3_shows_its_leaf_to_strangers(
    lab: Lab, pair: Verified
) -> None:
    with Listener(TlsServer(pair, client_ca=lab.certificate)) as listener:
        assert TlsProof(listener.address, pair.spec.name).check(expecting(pair)).holds


def test_a_server_that_insists_in_tls_1_2_is_reported_with_what_was_missing(
    lab: Lab, pair: Verified, tmp_path: Path
) -> None:
    absent = make_client_spec(tmp_path).outputs
    server = TlsServer(pair, client_ca=lab.certificate, newest=ssl.TLSVersion.TLSv1_2)
    with Listener(server) as listener:
        proof = TlsProof(listener.address, pair.spec.name, client=absent)
        evidence = proof.check(expecting(pair))
    assert not evidence.holds
    assert evidence.reachable
    assert f"no client certificate was presented: {absent[0].path} cannot be read" in (
        evidence.detail
    )


@pytest.mark.parametrize("kind", [OutputKind.CERTIFICATE, OutputKind.KEY])
def test_half_a_client_pair_is_told_when_it_matters(
    lab: Lab, pair: Verified, tmp_path: Path, kind: OutputKind
) -> None:
    client = put(lab.issue(make_client_spec(tmp_path)))
    half = tuple(each for each in client.spec.outputs if each.kind is kind)
    server = TlsServer(pair, client_ca=lab.certificate, newest=ssl.TLSVersion.TLSv1_2)
    with Listener(server) as listener:
        evidence = TlsProof(listener.address, pair.spec.name, client=half).check(expecting(pair))
    assert "no client certificate was presented" in evidence.detail
    assert "PRIVATE KEY" not in evidence.detail


def test_the_name_to_ask_for_is_sent(pair: Verified) -> None:
    server = TlsServer(pair)
    with Listener(server) as listener:
        proof = TlsProof(listener.address, pair.spec.name, server_name="api.example")
        evidence = proof.check(expecting(pair))
    assert server.names == ["api.example"]
    assert evidence.detail.startswith(f"{listener.address} as api.example presents")


def test_an_open_port_opens_the_tcp_gate() -> None:
    with Listener(never_answering) as listener:
        evidence = TcpGate(listener.address).check()
    assert evidence.holds
    assert evidence.detail == f"{listener.address}: accepts connections"


def test_a_closed_port_keeps_the_tcp_gate_closed() -> None:
    address = unused_address()
    evidence = TcpGate(address).check()
    assert (evidence.holds, evidence.reachable) == (False, False)
    assert evidence.detail == f"{address}: connection refused"


def test_a_name_reaches_the_address_family_that_listens() -> None:
    with Listener(never_answering) as listener:
        port = listener.address.rpartition(":")[2]
        assert TcpGate(f"localhost:{port}").check().holds
