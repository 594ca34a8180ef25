"""Authenticated calls and health paths against real HTTPS listeners."""

from __future__ import annotations

import threading
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.clock import SystemClock
from certrotd.adapters.probes import ClientProof, HttpGate
from certrotd.core.model import Kubeconfig, Output, OutputKind
from tests.adapters.listeners import Listener, TlsServer, expecting, lab_of_today, put
from tests.factories import Lab, make_client_spec, make_spec

if TYPE_CHECKING:
    import ssl

    from certrotd.core.model import Verified

UNAUTHORIZED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 12\r\n\r\nUnauthorized"
UNREADY = (
    b"HTTP/1.1 500 Internal Server Error\r\n\r\n"
    b"[+]ping ok\n[-]etcd failed: reason withheld\n[+]log ok\nreadyz check failed\n"
)


@pytest.fixture(scope="module")
def lab() -> Lab:
    return lab_of_today()


@pytest.fixture
def pair(lab: Lab, tmp_path: Path) -> Verified:
    return put(lab.issue(make_spec(tmp_path)))


@pytest.fixture
def client(lab: Lab, tmp_path: Path) -> Verified:
    return put(lab.issue(make_client_spec(tmp_path)))


def ca_of(pair: Verified) -> str:
    return next(each.path for each in pair.spec.outputs if each.kind is OutputKind.CA)


def gate(pair: Verified, listener: Listener, path: str = "/readyz", **changes: object) -> HttpGate:
    made = HttpGate(f"https://{listener.address}{path}", ca_of(pair))
    return replace(made, **changes)  # type: ignore[arg-type]  # fields of HttpGate


def proof(pair: Verified, client: Verified, listener: Listener, **changes: object) -> ClientProof:
    url = f"https://{listener.address}/api"
    made = ClientProof(url, client.spec.name, client.spec.outputs, ca_of(pair))
    return replace(made, **changes)  # type: ignore[arg-type]  # fields of ClientProof


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_a_health_path_with_the_expected_status_opens_the_gate(pair: Verified) -> None:
    server = TlsServer(pair)
    with Listener(server) as listener:
        evidence = gate(pair, listener, "/readyz?verbose").check()
    assert evidence.holds
    assert evidence.detail == f"GET https://{listener.address}/readyz?verbose: 200"
    assert server.requests[0].startswith(b"GET /readyz?verbose HTTP/1.1\r\n")
    assert f"\r\nHost: {listener.address}\r\n".encode() in server.requests[0]


def test_an_ipv6_listener_is_verified_by_its_address(lab: Lab, tmp_path: Path) -> None:
    pair = put(lab.issue(make_spec(tmp_path, ip_addresses=(ip_address("::1"),))))
    with Listener(TlsServer(pair), "::1") as listener:
        assert gate(pair, listener).check().holds


def test_an_unhealthy_path_tells_status_and_failing_checks(pair: Verified) -> None:
    with Listener(TlsServer(pair, answer=UNREADY)) as listener:
        evidence = gate(pair, listener).check()
    assert not evidence.holds
    assert evidence.reachable
    assert evidence.detail.endswith('/readyz: 500, "[-]etcd failed: reason withheld"')


def test_a_redirect_is_not_followed(pair: Verified) -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    server = TlsServer(pair, answer=moved)
    with Listener(server) as listener:
        assert gate(pair, listener).check().detail.endswith(": 302")
    assert len(server.requests) == 1


def test_a_proxy_of_the_environment_is_not_used(
    pair: Verified, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with Listener(TlsServer(pair)) as listener:
        assert gate(pair, listener).check().holds


@pytest.mark.parametrize(("text", "holds"), [("ok", True), ("healthy", False)])
def test_a_text_the_body_must_hold_is_looked_for(pair: Verified, text: str, *, holds: bool) -> None:
    with Listener(TlsServer(pair)) as listener:
        evidence = gate(pair, listener, contains=text).check()
    assert evidence.holds is holds
    if not holds:
        assert evidence.detail.endswith('200, "ok" without "healthy"')


def test_a_chunked_answer_is_understood(pair: Verified) -> None:
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhea\r\n4\r\nlthy\r\n0\r\n\r\n"
    )
    with Listener(TlsServer(pair, answer=chunked)) as listener:
        assert gate(pair, listener, contains="healthy").check().holds


def test_an_endless_answer_is_cut_off(pair: Verified) -> None:
    def endless(channel: ssl.SSLSocket) -> None:
        channel.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:  # until the client hangs up
            channel.sendall(b"x" * 65536)

    with Listener(TlsServer(pair, answer=endless)) as listener:
        assert gate(pair, listener).check().holds


def test_an_answer_that_dribbles_in_is_given_up(pair: Verified) -> None:
    enough = threading.Event()

    def dribble(channel: ssl.SSLSocket) -> None:
        channel.sendall(b"HTTP/1.1 200 OK\r\n")
        while not enough.wait(0.02):
            channel.sendall(b"X")

    with Listener(TlsServer(pair, answer=dribble)) as listener:
        evidence = gate(pair, listener, timeout=0.3).check()
        enough.set()
    assert evidence.detail.endswith("no answer within 0.3 s")


@pytest.mark.parametrize(
    ("answer", "told"),
    [(b"SSH-2.0-x\r\n", "the answer is not HTTP"), (b"", "the server hung up")],
)
def test_what_is_not_http_is_told(pair: Verified, answer: bytes, told: str) -> None:
    with Listener(TlsServer(pair, answer=answer)) as listener:
        evidence = gate(pair, listener).check()
    assert not evidence.holds
    assert evidence.detail.endswith(told)


def test_a_server_of_another_ca_is_not_trusted(pair: Verified, tmp_path: Path) -> None:
    other = put(lab_of_today().issue(make_spec(tmp_path, "other")))
    with Listener(TlsServer(pair)) as listener:
        evidence = gate(pair, listener, ca_file=ca_of(other)).check()
    assert not evidence.holds
    assert "its certificate is not trusted: " in evidence.detail


def test_a_server_with_another_name_is_not_trusted(lab: Lab, tmp_path: Path) -> None:
    pair = put(lab.issue(make_spec(tmp_path, ip_addresses=())))
    with Listener(TlsServer(pair)) as listener:
        evidence = gate(pair, listener).check()
    assert "IP address mismatch" in evidence.detail


def test_an_intermediate_can_be_the_pinned_anchor(tmp_path: Path) -> None:
    below = Lab(SystemClock().now(), intermediate=True)
    pair = put(below.issue(make_spec(tmp_path)))
    anchor = tmp_path / "intermediate.crt"
    anchor.write_bytes(below.signer[0])
    with Listener(TlsServer(pair)) as listener:
        assert gate(pair, listener, ca_file=str(anchor)).check().holds


@pytest.mark.parametrize("content", [None, b"", b"rubbish"])
def test_a_ca_file_that_is_none_is_named(
    pair: Verified, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "broken.crt"
    if content is not None:
        path.write_bytes(content)
    with Listener(TlsServer(pair)) as listener:
        evidence = gate(pair, listener, ca_file=str(path)).check()
    assert not evidence.holds
    assert str(path) in evidence.detail


def test_a_gate_can_present_a_client_certificate(
    lab: Lab, pair: Verified, client: Verified
) -> None:
    server = TlsServer(pair, client_ca=lab.certificate)
    with Listener(server) as listener:
        assert not gate(pair, listener).check().holds
        assert gate(pair, listener, client=client.spec.outputs).check().holds


def test_an_accepted_call_proves_the_client_certificate(
    lab: Lab, pair: Verified, client: Verified
) -> None:
    server = TlsServer(pair, client_ca=lab.certificate)
    with Listener(server) as listener:
        evidence = proof(pair, client, listener).check(expecting(client))
    assert evidence.holds
    assert evidence.certificate == client.spec.name
    assert evidence.detail == (
        f"GET https://{listener.address}/api as client: 200 with serial {client.leaf.serial}"
    )
    assert int(server.peers[0], 16) == int(client.leaf.serial, 16)


def test_a_refused_call_tells_the_answer(pair: Verified, client: Verified) -> None:
    with Listener(TlsServer(pair, answer=UNAUTHORIZED)) as listener:
        evidence = proof(pair, client, listener).check(expecting(client))
        assert proof(pair, client, listener, statuses=(401,)).check(expecting(client)).holds
    assert not evidence.holds
    assert '401, "Unauthorized"' in evidence.detail


def test_a_server_that_does_not_know_the_ca_is_told_apart(pair: Verified, tmp_path: Path) -> None:
    stranger = put(lab_of_today().issue(make_client_spec(tmp_path, "stranger")))
    server = TlsServer(pair, client_ca=pair.anchors[0])
    with Listener(server) as listener:
        evidence = proof(pair, stranger, listener).check(expecting(stranger))
    assert not evidence.holds
    assert evidence.reachable
    assert "unknown ca" in evidence.detail


def test_files_with_another_pair_are_told_before_any_call(
    lab: Lab, pair: Verified, client: Verified
) -> None:
    newer = lab.issue(client.spec)
    server = TlsServer(pair)
    with Listener(server) as listener:
        evidence = proof(pair, client, listener).check(expecting(newer))
    assert not evidence.holds
    assert evidence.detail.endswith(
        f"the files hold serial {client.leaf.serial} (expected {newer.leaf.serial})"
    )
    assert server.requests == []


def test_missing_files_mean_that_there_is_nothing_to_look_at(
    lab: Lab, pair: Verified, tmp_path: Path
) -> None:
    absent = lab.issue(make_client_spec(tmp_path))
    with Listener(TlsServer(pair)) as listener:
        evidence = proof(pair, absent, listener).check(expecting(absent))
    assert not evidence.reachable
    path = absent.spec.outputs[0].path
    assert evidence.detail.endswith(f"{path} cannot be read: No such file or directory")


def test_a_key_of_another_pair_is_refused_without_showing_it(
    lab: Lab, pair: Verified, client: Verified
) -> None:
    key = next(each.path for each in client.spec.outputs if each.kind is OutputKind.KEY)
    other = lab.issue(client.spec).private_key.reveal()
    Path(key).write_bytes(other)
    with Listener(TlsServer(pair)) as listener:
        evidence = proof(pair, client, listener).check(expecting(client))
    assert "TLS: key values mismatch" in evidence.detail
    assert other.decode().splitlines()[1] not in evidence.detail


@pytest.mark.parametrize("kind", [OutputKind.COMBINED, OutputKind.KUBECONFIG])
def test_a_pair_in_one_file_is_presented(
    lab: Lab, pair: Verified, tmp_path: Path, kind: OutputKind
) -> None:
    only = Output(
        path=str(tmp_path / "only"),
        kind=kind,
        mode=0o600,
        kubeconfig=Kubeconfig(server="https://127.0.0.1:6443")
        if kind is OutputKind.KUBECONFIG
        else None,
    )
    client = put(lab.issue(make_client_spec(tmp_path, outputs=(only,))))
    server = TlsServer(pair, client_ca=lab.certificate)
    with Listener(server) as listener:
        assert proof(pair, client, listener).check(expecting(client)).holds


def test_looking_leaves_no_descriptor_and_no_file_behind(
    pair: Verified, client: Verified, tmp_path: Path
) -> None:
    files = set(tmp_path.iterdir())
    descriptors = open_descriptors()
    with Listener(TlsServer(pair, answer=UNAUTHORIZED)) as listener:
        for _ in range(3):
            proof(pair, client, listener).check(expecting(client))
    assert open_descriptors() == descriptors
    assert set(tmp_path.iterdir()) == files
