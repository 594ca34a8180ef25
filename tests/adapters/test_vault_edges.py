"""The `vault` issuer without a Vault: other servers in its place, credentials, errors, retries."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
import threading
import traceback
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hvac.exceptions
import pytest
import requests.exceptions
import urllib3.exceptions

from certrotd.adapters.vault import (
    AppRoleAuth,
    CertificateAuth,
    TokenFileAuth,
    TokenRoleAuth,
    VaultConnection,
    VaultIssuer,
    VaultSession,
    errors,
    transport,
)
from certrotd.adapters.vault.retry import Retrying
from certrotd.core.errors import (
    CertrotdError,
    Interrupted,
    IssuerRefused,
    IssuerUnavailable,
    PermanentError,
    TransientError,
)
from certrotd.ports import Event
from tests.adapters.listeners import Listener, TlsServer, lab_of_today, put
from tests.factories import Lab, lab, make_request, make_spec
from tests.fakes.clock import FakeClock
from tests.fakes.log import RecordingLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from certrotd.adapters.vault.settings import Auth
    from certrotd.core.model import Verified

TOKEN = "hvs.CANARY"
PURPOSE = errors.Purpose(what="sign", path="pki/sign/server", server="https://vault:8200")


class FakeStop(threading.Event):
    """Waiting moves the clock; the waits are kept. `after` ends them by setting itself."""

    def __init__(self, clock: FakeClock, after: int | None = None) -> None:
        super().__init__()
        self._clock = clock
        self._after = after
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        self._clock.advance(timedelta(seconds=timeout or 0.0))
        if self._after is not None and len(self.waits) >= self._after:
            self.set()
        return self.is_set()


# Trying again


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def log() -> RecordingLog:
    return RecordingLog()


@pytest.fixture
def stop(clock: FakeClock) -> FakeStop:
    return FakeStop(clock)


def failing(*failures: Exception) -> Callable[[], str]:
    """An attempt that fails so often and then works."""
    left = list(failures)

    def attempt() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return attempt


def run(attempt: Callable[[], str], clock: FakeClock, stop: FakeStop, log: RecordingLog) -> str:
    ends = clock.monotonic() + 60
    return Retrying(clock, log, stop, "https://vault").run(attempt, ends, "sign")


def test_pauses_double_with_jitter_up_to_a_bound(
    clock: FakeClock, stop: FakeStop, log: RecordingLog
) -> None:
    run(failing(*[errors.Retriable("away")] * 8), clock, stop, log)
    for pause, least in zip(stop.waits, (0.25, 0.5, 1, 2, 4, 8, 8, 8), strict=True):
        assert least <= pause <= least + 0.5
    assert len({round(pause % 0.25, 6) for pause in stop.waits}) > 1
    assert [each["attempt"] for each in log.of(Event.ISSUER_RETRIED)] == list(range(1, 9))


def test_the_deadline_holds_and_no_pause_reaches_beyond(
    clock: FakeClock, stop: FakeStop, log: RecordingLog
) -> None:
    began = clock.monotonic()
    with pytest.raises(IssuerUnavailable, match=r"away \(tried \d+ times in \d+ s\)") as caught:
        run(failing(*[errors.Retriable("away", hint="look")] * 99), clock, stop, log)
    assert 50 < clock.monotonic() - began < 60
    assert caught.value.hint == "look"
    assert not isinstance(caught.value, errors.Retriable)


def test_a_named_time_is_waited_for_exactly(
    clock: FakeClock, stop: FakeStop, log: RecordingLog
) -> None:
    run(failing(errors.Retriable("busy", retry_after=7.0)), clock, stop, log)
    assert stop.waits == [7.0]


def test_a_named_time_beyond_the_deadline_is_passed_on_at_once(
    clock: FakeClock, stop: FakeStop, log: RecordingLog
) -> None:
    with pytest.raises(IssuerUnavailable) as caught:
        run(failing(errors.Retriable("busy", retry_after=3600.0)), clock, stop, log)
    assert caught.value.retry_after == 3600.0
    assert stop.waits == []


@pytest.mark.parametrize("failure", [IssuerRefused("no"), IssuerUnavailable("away")])
def test_nothing_else_is_tried_again(
    failure: CertrotdError, clock: FakeClock, stop: FakeStop, log: RecordingLog
) -> None:
    with pytest.raises(type(failure)):
        run(failing(failure), clock, stop, log)
    assert stop.waits == []


def test_a_stop_ends_the_waiting_and_keeps_the_cause(clock: FakeClock, log: RecordingLog) -> None:
    stop = FakeStop(clock, after=2)
    with pytest.raises(Interrupted, match="asked to stop"):
        run(failing(*[errors.Retriable("away")] * 9), clock, stop, log)
    assert len(stop.waits) == 2


def test_after_a_stop_nothing_is_begun(clock: FakeClock, stop: FakeStop, log: RecordingLog) -> None:
    stop.set()
    with pytest.raises(Interrupted):
        run(failing(AssertionError("begun")), clock, stop, log)


# Foreign exceptions


def classes(module: Any) -> list[type[Exception]]:
    return [
        each
        for _, each in inspect.getmembers(module, inspect.isclass)
        if issubclass(each, Exception)
        and not issubclass(each, Warning)
        and each.__module__ == module.__name__
    ]


@pytest.mark.parametrize("kind", [*classes(hvac.exceptions), *classes(requests.exceptions)])
def test_every_exception_of_the_libraries_is_known_by_itself(kind: type[Exception]) -> None:
    assert kind in errors.exceptions()


def made(kind: type[Exception]) -> Exception:
    """An instance whose text quotes a token, as the libraries' own do."""
    error = kind.__new__(kind)
    error.args = (f"Invalid header value: {TOKEN}\n",)
    return error


@pytest.mark.parametrize(
    "kind",
    [
        *classes(hvac.exceptions),
        *classes(requests.exceptions),
        *classes(urllib3.exceptions),
        OSError,
        ConnectionResetError,
    ],
)
def test_every_exception_becomes_ours_and_quotes_nothing(kind: type[Exception]) -> None:
    error = errors.from_exception(PURPOSE, made(kind))
    assert isinstance(error, TransientError | PermanentError)
    assert TOKEN not in f"{error} {error.hint}"
    for part in ("sign", "https://vault:8200", "pki/sign/server"):
        assert part in str(error)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (204, IssuerRefused),
        (301, IssuerUnavailable),
        (307, IssuerUnavailable),
        (400, IssuerRefused),
        (401, IssuerRefused),
        (403, IssuerRefused),
        (404, IssuerRefused),
        (405, IssuerRefused),
        (412, errors.Retriable),
        (413, IssuerRefused),
        (429, errors.Retriable),
        (472, IssuerUnavailable),
        (473, IssuerUnavailable),
        (500, errors.Retriable),
        (501, IssuerUnavailable),
        (502, errors.Retriable),
        (503, errors.Retriable),
        (504, errors.Retriable),
        (599, errors.Retriable),
    ],
)
def test_every_status_has_its_meaning(status: int, kind: type[CertrotdError]) -> None:
    error = errors.from_status(PURPOSE, status, "said")
    assert type(error) is kind
    assert "said" in str(error)


def test_what_the_server_says_is_shortened_and_cleaned() -> None:
    purpose = replace(PURPOSE, secrets=(TOKEN,))
    said = f"a\x1b[31m\nb {TOKEN} " + "x" * 5000
    text = str(errors.from_status(purpose, 400, said))
    assert TOKEN not in text
    assert text.isprintable()
    assert len(text) < 1000
    assert TOKEN not in repr(purpose)


# Other servers


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


# Credentials


def session(auth: Auth, clock: FakeClock) -> VaultIssuer:
    connection = VaultConnection(
        address="https://127.0.0.1:1",
        auth=auth,
        connect_timeout=timedelta(seconds=1),
        read_timeout=timedelta(seconds=1),
        deadline=timedelta(seconds=1),
    )
    made = VaultSession(connection, clock, RecordingLog(), FakeStop(clock))
    return VaultIssuer(made, mount="pki", anchors_file="/nowhere")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file or directory"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"two words", "something else"),
        (b"hvs.CANARY\nhvs.CANARY\n", "something else"),
        (b"\xffCANARY", "something else"),
        (b"CANARY" * 20_000, "something else"),
    ],
)
@pytest.mark.parametrize(
    "auth",
    [
        lambda path: TokenFileAuth(path=path),
        lambda path: AppRoleAuth(role_id="r", secret_id_file=path),
        lambda path: AppRoleAuth(role_id_file=path, secret_id_file="/nowhere"),
        lambda path: AppRoleAuth(role_id="r", wrapped_secret_id_file=path),
        lambda path: TokenRoleAuth(method="jwt", mount="jwt", role="r", token_file=path),
    ],
)
def test_a_credential_file_without_a_credential_is_named(
    auth: Callable[[str], Auth],
    content: bytes | None,
    problem: str,
    tmp_path: Path,
    clock: FakeClock,
) -> None:
    path = tmp_path / "credential"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(IssuerRefused, match=problem) as caught:
        sign(session(auth(str(path)), clock))
    assert str(path) in str(caught.value)
    assert caught.value.hint
    assert "CANARY" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("which", ["certificate", "key"])
def test_a_login_certificate_that_is_missing_is_named(
    which: str, tmp_path: Path, clock: FakeClock
) -> None:
    paths = {"certificate": str(tmp_path / "crt"), "key": str(tmp_path / "key")}
    for name, path in paths.items():
        if name != which:
            (tmp_path / path).write_text("x")
    with pytest.raises(IssuerRefused, match=paths[which]):
        sign(session(CertificateAuth(**paths), clock))


def test_a_systemd_credential_needs_systemd(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    auth = AppRoleAuth(role_id="r", secret_id_credential="certrotd-secret-id")
    with pytest.raises(IssuerRefused, match="no systemd credential certrotd-secret-id") as caught:
        sign(session(auth, clock))
    assert "LoadCredential=certrotd-secret-id:" in caught.value.hint


# Anchors, and what is loaded when


def test_anchors_are_read_from_the_pinned_file_each_time(tmp_path: Path, clock: FakeClock) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(b"# old\n" + lab().certificate)
    auth = TokenFileAuth(path="/nowhere")
    issuer = VaultIssuer(session(auth, clock)._session, mount="pki", anchors_file=str(path))
    assert issuer.anchors() == lab().anchors
    path.write_bytes(lab().certificate + Lab().certificate)
    assert len(issuer.anchors()) == 2
    for damage in (b"", b"rubbish", lab().certificate[:100]):
        path.write_bytes(damage)
        with pytest.raises(IssuerRefused, match=str(path)):
            issuer.anchors()
    path.unlink()
    with pytest.raises(IssuerRefused, match=f"{path}: No such file"):
        issuer.anchors()


def test_an_issuer_can_be_made_and_give_its_anchors_without_loading_hvac(tmp_path: Path) -> None:
    anchors = tmp_path / "ca.pem"
    anchors.write_bytes(lab().certificate)
    program = f"""
import sys, threading
from datetime import timedelta
from certrotd.adapters.clock import SystemClock
from certrotd.adapters.vault import TokenFileAuth, VaultConnection, VaultIssuer, VaultSession
second = timedelta(seconds=1)
connection = VaultConnection(address="https://vault:8200", auth=TokenFileAuth(path="/nowhere"),
    connect_timeout=second, read_timeout=second, deadline=second)
stop = threading.Event()
session = VaultSession(connection, SystemClock(stop), print, stop)
assert VaultIssuer(session, mount="pki", anchors_file={str(anchors)!r}).anchors()
session.close()
loaded = {{"hvac", "requests", "urllib3", "tenacity"}} & set(sys.modules)
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", program], check=True)
