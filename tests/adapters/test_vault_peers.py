"""The `vault` issuer where another server answers at Vault's address."""

from __future__ import annotations

import json
import re
import threading
import traceback
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from certrotd.adapters.vault import (
    TokenFileAuth,
    VaultConnection,
    VaultIssuer,
    VaultSession,
    transport,
)
from certrotd.core.errors import (
    CertrotdError,
    IssuerRefused,
    IssuerUnavailable,
)
from tests.adapters.listeners import Listener, TlsServer, lab_of_today, put
from tests.factories import Lab, lab, make_request, make_spec
from tests.fakes.clock import FakeClock
from tests.fakes.log import RecordingLog
from tests.fakes.stop import FakeStop

if TYPE_CHECKING:
    from collections.abc import Callable

    from certrotd.core.model import Verified

TOKEN = "hvs.CANARY"


@pytest.fixture(scope="module")
def today() -> Lab:
    return lab_of_today()


@pytest.fixture
def pair(today: Lab, tmp_path: Path) -> Verified:
    return put(today.issue(make_spec(tmp_path)))


def answer(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def json_answer(body: object, status: str = "200 OK") -> bytes:
    return answer(status, json.dumps(body).encode(), "Content-Type: application/json")


class Odd:
    """An issuer over a TLS server that gives these answers, the last one for ever."""

    def __init__(self, pair: Verified, tmp_path: Path, *answers: bytes) -> None:
        self.clock = FakeClock()
        self.stop = FakeStop(self.clock)
        self.log = RecordingLog()
        self._left = list(answers)
        self.tls = TlsServer(pair, answer=self._answer)
        self._token = tmp_path / "token"
        self._token.write_text(TOKEN)
        self._directory = tmp_path

    def _answer(self, channel: Any) -> None:
        # Closing with something unread resets the connection, and the answer may be lost.
        head, _, body = self.tls.requests[-1].partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head.lower())
        while length and len(body) < int(length[1]):
            body += channel.recv(65536)
        channel.sendall(self._left.pop(0) if len(self._left) > 1 else self._left[0])

    def issuer(self, address: str, **changes: Any) -> VaultIssuer:
        connection = VaultConnection(
            address=f"https://{address}",
            ca_file=str(self._directory / "server-ca.crt"),
            auth=TokenFileAuth(path=str(self._token)),
            connect_timeout=timedelta(seconds=3),
            read_timeout=timedelta(seconds=5),
            deadline=timedelta(seconds=20),
        )
        session = VaultSession(connection, self.clock, self.log, self.stop)
        given = {"mount": "pki", "anchors_file": connection.ca_file} | changes
        return VaultIssuer(session, **given)


def asked(odd: Odd, call: Callable[[VaultIssuer], object], **changes: Any) -> CertrotdError:
    """The error that this leads to, which shows no token."""
    with Listener(odd.tls) as listener, pytest.raises(CertrotdError) as caught:
        call(odd.issuer(listener.address, **changes))
    shown = "".join(traceback.format_exception(caught.value))
    assert TOKEN not in f"{shown} {caught.value.hint} {odd.log.lines}"
    return caught.value


def sign(issuer: VaultIssuer) -> object:
    return issuer.sign(make_request(make_spec(Path("/etc/pki")))[1])


def time(issuer: VaultIssuer) -> object:
    return issuer.time()


HTML = b"<html><body>Welcome to nginx!</body></html>"


@pytest.mark.parametrize("call", [sign, time])
@pytest.mark.parametrize(
    "reply",
    [
        answer("200 OK", HTML, "Content-Type: text/html"),
        answer("200 OK", b""),
        answer("200 OK", b"[]", "Content-Type: application/json"),
        answer("200 OK", b"null"),
        answer("200 OK", b"{" * 100_000),
        answer("200 OK", b"\xff\xfe\x00"),
        answer("404 Not Found", HTML, "Content-Type: text/html"),
        answer("403 Forbidden", HTML, "Content-Type: text/html"),
        json_answer({}),
        json_answer({"data": []}),
    ],
)
def test_what_is_no_vault_is_refused(
    pair: Verified, tmp_path: Path, reply: bytes, call: Callable[[VaultIssuer], object]
) -> None:
    error = asked(Odd(pair, tmp_path, reply), call)
    assert isinstance(error, IssuerRefused)
    assert "nginx" not in str(error)


def test_a_broken_proxy_is_unavailable_and_tried_again(pair: Verified, tmp_path: Path) -> None:
    odd = Odd(pair, tmp_path, answer("502 Bad Gateway", HTML, "Content-Type: text/html"))
    assert isinstance(asked(odd, time), IssuerUnavailable)
    assert len(odd.tls.requests) == len(odd.stop.waits) + 1 > 3


def test_an_endless_answer_is_cut_off(pair: Verified, tmp_path: Path) -> None:
    endless = b" " * (transport.LONGEST_ANSWER + 1)
    error = asked(Odd(pair, tmp_path, answer("200 OK", endless)), sign)
    assert "longer than" in str(error)


def test_an_answer_that_breaks_off_is_tried_again(pair: Verified, tmp_path: Path) -> None:
    broken = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"
    health = json_answer({"sealed": False, "initialized": True, "server_time_utc": 1795500000})
    odd = Odd(pair, tmp_path, broken, b"", health)
    with Listener(odd.tls) as listener:
        assert odd.issuer(listener.address).time()
    assert len(odd.tls.requests) == 3


def test_a_server_that_never_answers_is_not_asked_twice(pair: Verified, tmp_path: Path) -> None:
    odd = Odd(pair, tmp_path, b"")
    silent = threading.Event()

    def wait(_: object) -> None:
        silent.wait(10)

    tls = TlsServer(pair, answer=wait)
    with Listener(tls) as listener:
        issuer = odd.issuer(listener.address)
        connection = issuer._session._connection
        session = VaultSession(
            replace(connection, read_timeout=timedelta(seconds=0.2)), odd.clock, odd.log, odd.stop
        )
        with pytest.raises(IssuerUnavailable) as caught:
            sign(VaultIssuer(session, mount="pki", anchors_file=connection.ca_file or ""))
        silent.set()
    assert "it may have been signed nevertheless" in caught.value.hint
    assert odd.stop.waits == []


def test_a_redirect_is_not_followed(pair: Verified, tmp_path: Path, today: Lab) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    other = TlsServer(put(today.issue(make_spec(elsewhere))), answer=json_answer({}))
    with Listener(other) as thief:
        to = f"Location: https://{thief.address}/v1/pki/sign/server"
        error = asked(Odd(pair, tmp_path, answer("307 Temporary Redirect", b"", to)), sign)
        assert thief.address in str(error)
    assert other.requests == []
    assert isinstance(error, IssuerUnavailable)


def test_too_many_requests_are_waited_out_as_long_as_the_server_says(
    pair: Verified, tmp_path: Path
) -> None:
    busy = answer("429 Too Many Requests", b"", "Retry-After: 3")
    odd = Odd(pair, tmp_path, busy, answer("503 x", b"", "Retry-After: Tue, 24 Nov"), b"", busy)
    assert isinstance(asked(odd, time), IssuerUnavailable)
    assert odd.stop.waits[0] == 3.0
    assert odd.stop.waits[1] != 3.0
    assert odd.stop.waits[3] == 3.0


@pytest.mark.parametrize(
    "health",
    [
        {"sealed": True, "initialized": True},
        {"sealed": True, "initialized": False},
        {"sealed": False, "initialized": True},
        {"sealed": False, "initialized": True, "server_time_utc": "soon"},
        {"sealed": False, "initialized": True, "server_time_utc": 10**30},
    ],
)
def test_a_health_report_without_a_time_is_an_error(
    pair: Verified, tmp_path: Path, health: dict[str, object]
) -> None:
    error = asked(Odd(pair, tmp_path, json_answer(health)), time)
    if health["sealed"]:
        assert isinstance(error, IssuerUnavailable)
        assert "vault operator" in error.hint
    else:
        assert isinstance(error, IssuerRefused)


@pytest.mark.parametrize("status", ["200 OK", "429 x", "472 x", "473 x", "474 x"])
def test_a_standby_knows_the_time_too(pair: Verified, tmp_path: Path, status: str) -> None:
    health = {"sealed": False, "standby": True, "initialized": True, "server_time_utc": 1795500000}
    odd = Odd(pair, tmp_path, json_answer(health, status))
    with Listener(odd.tls) as listener:
        found = odd.issuer(listener.address).time()
    assert found
    assert found.timestamp() == 1795500000


def test_the_date_of_the_answer_serves_where_the_report_has_no_time(
    pair: Verified, tmp_path: Path
) -> None:
    body = json.dumps({"sealed": False, "initialized": True}).encode()
    odd = Odd(pair, tmp_path, answer("200 OK", body, "Date: Tue, 24 Nov 2026 12:00:00 GMT"))
    with Listener(odd.tls) as listener:
        assert odd.issuer(listener.address).time() == odd.clock.now()


def signature(**changes: object) -> dict[str, object]:
    """An answer to `sign`, as far as its shape goes."""
    pem = lab().certificate.decode()
    data: dict[str, object] = {"certificate": pem, "issuing_ca": pem, "ca_chain": [pem]}
    return {"data": data | changes, "warnings": None}


@pytest.mark.parametrize(
    "changes",
    [
        {"certificate": None},
        {"certificate": ""},
        {"certificate": ["x"]},
        {"certificate": "rubbish"},
        {"ca_chain": "a string"},
        {"ca_chain": {"a": "b"}},
        {"ca_chain": [None, 7]},
        {"ca_chain": ["rubbish"]},
        {"ca_chain": ["x"] * 21},
        {"ca_chain": None, "issuing_ca": 7},
        {"private_key": "-----BEGIN"},
    ],
)
def test_an_answer_of_the_wrong_shape_is_refused(
    pair: Verified, tmp_path: Path, changes: dict[str, object]
) -> None:
    error = asked(Odd(pair, tmp_path, json_answer(signature(**changes))), sign)
    assert isinstance(error, IssuerRefused)
    assert "pki/sign/server" in str(error)


@pytest.mark.parametrize("key", [None, "", 7, "rubbish", "-----BEGIN PRIVATE KEY-----"])
def test_an_issued_answer_without_a_usable_key_is_refused(
    pair: Verified, tmp_path: Path, key: object
) -> None:
    odd = Odd(pair, tmp_path, json_answer(signature(private_key=key)))
    assert isinstance(asked(odd, sign, endpoint="issue"), IssuerRefused)


@pytest.mark.parametrize(
    ("changes", "length"),
    [
        ({}, 1),
        ({"ca_chain": None}, 1),
        ({"ca_chain": None, "issuing_ca": None}, 1),
        ({"ca_chain": [], "issuing_ca": ""}, 1),
    ],
)
def test_every_certificate_comes_once(
    pair: Verified, tmp_path: Path, changes: dict[str, object], length: int
) -> None:
    odd = Odd(pair, tmp_path, json_answer(signature(**changes) | {"warnings": ["cut\x1b[0m"]}))
    with Listener(odd.tls) as listener:
        found = odd.issuer(listener.address).sign(make_request(make_spec(tmp_path))[1])
    assert found.chain == lab().anchors[:length]
    assert found.warnings == ("cut [0m",)


def test_roles_and_mounts_are_quoted(pair: Verified, tmp_path: Path) -> None:
    odd = Odd(pair, tmp_path, json_answer(signature()))
    request = make_request(make_spec(tmp_path, role="a/b?c"))[1]
    with Listener(odd.tls) as listener:
        odd.issuer(listener.address, mount="/team one/pki/", issuer_ref="x/y").sign(request)
    first = odd.tls.requests[0].split(b"\r\n")[0]
    assert first == b"POST /v1/team%20one/pki/issuer/x%2Fy/sign/a%2Fb%3Fc HTTP/1.1"
