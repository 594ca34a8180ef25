"""A TLS-terminating proxy before a real server that does not have to be honest.

Each request is handed to the deed that is set for its purpose; without one it is forwarded.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import ssl
import threading
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.testbed.vaultserver import VaultServer

    Upstream = Callable[["Exchange"], "Answer"]

HOST = "127.0.0.1"
_FORWARDED = ("X-Vault-Token", "X-Vault-Namespace", "X-Vault-Request", "Content-Type")


class Purpose(StrEnum):
    """What certrotd asks Vault for; the last three are kube-apiserver's."""

    HEALTH = "health"
    LOGIN = "login"
    LOOKUP = "lookup"
    SIGN = "sign"
    REVOKE = "revoke"
    SUBMIT = "submit"
    LOOK = "look"
    NODE = "node"


_PURPOSES = (
    (Purpose.HEALTH, re.compile(r"/v1/sys/health")),
    (Purpose.LOGIN, re.compile(r"/v1/auth/[^/]+/login")),
    (Purpose.LOOKUP, re.compile(r"/v1/auth/token/lookup-self")),
    (Purpose.REVOKE, re.compile(r"/v1/auth/token/revoke-self")),
    (Purpose.SIGN, re.compile(r"/v1/.+/(sign|issue)/[^/]+")),
    (Purpose.SUBMIT, re.compile(r"/apis/certificates[^/]+/v1/certificatesigningrequests")),
    (Purpose.LOOK, re.compile(r"/apis/certificates[^/]+/v1/certificatesigningrequests/[^/]+")),
    (Purpose.NODE, re.compile(r"/api/v1/nodes/[^/]+")),
)


def purpose_of(path: str) -> Purpose:
    """What a path is for; there is none that is not known."""
    return next(purpose for purpose, pattern in _PURPOSES if pattern.fullmatch(path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the real server said."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One request, and the ways to answer it."""

    proxy: HostileProxy
    purpose: Purpose
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    channel: socket.socket
    forwarded: bool = False

    @property
    def secrets(self) -> tuple[str, ...]:
        """The token and login credentials that came with it."""
        asked = json.loads(self.body) if self.body else {}
        bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
        found = (self.headers.get("X-Vault-Token"), asked.get("secret_id"), bearer)
        return tuple(each for each in found if each)

    def forward(self) -> Answer:
        """Have the real server answer, and count that."""
        self.forwarded = True
        return self.proxy.upstream(self)

    def ask(
        self, place: tuple[str, int], trust: ssl.SSLContext, headers: Mapping[str, str]
    ) -> Answer:
        """Make the same request there, with these headers."""
        upstream = http.client.HTTPSConnection(*place, timeout=30, context=trust)
        with contextlib.closing(upstream):
            upstream.request(self.method, self.path, self.body or None, dict(headers))
            response = upstream.getresponse()
            body = response.read()
        return Answer(status=response.status, headers=dict(response.headers), body=body)

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Answer; underscores in names of headers stand for hyphens."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        given.setdefault("Content-Length", str(len(body)))
        given.setdefault("Content-Type", "application/json")
        reason = http.client.responses.get(status, "Odd")
        lines = [f"HTTP/1.1 {status} {reason}", *(f"{n}: {v}" for n, v in given.items()), "", ""]
        self.channel.sendall("\r\n".join(lines).encode("latin-1") + body)

    def wait(self, seconds: float) -> bool:
        """Wait; true if the proxy is asked to end meanwhile."""
        return self.proxy.ending.wait(seconds)


if TYPE_CHECKING:
    Deed = Callable[[Exchange], None]


class CutOff(Exception):
    """End the connection now, without a farewell."""


def honestly(exchange: Exchange) -> None:
    """Give the real server's answer."""
    answer = exchange.forward()
    exchange.send(answer.status, answer.body)


def vault_behind(vault: VaultServer) -> Upstream:
    """Forward to a real Vault."""
    trust = ssl.create_default_context(cafile=str(vault.ca_file))

    def ask(exchange: Exchange) -> Answer:
        sent = {name: exchange.headers[name] for name in _FORWARDED if name in exchange.headers}
        return exchange.ask((vault.host, vault.port), trust, sent)

    return ask


@dataclass(slots=True)
class HostileProxy:
    """Listens on a port of its own while in its `with` block; a pair is its serving certificate.

    `deeds` says what happens to requests of a purpose, `seen` keeps all requests. Clients may show
    a certificate of `clients`.
    """

    upstream: Upstream
    certificate: Path
    key: Path
    clients: Path | None = None
    deeds: dict[Purpose, Deed] = field(default_factory=dict)
    seen: list[Exchange] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)
    ending: threading.Event = field(default_factory=threading.Event)
    _server: _Server | None = None
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        if self.clients:
            context.verify_mode = ssl.CERT_OPTIONAL
            context.load_verify_locations(self.clients)
        self._server = _Server(self, context)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server
        assert self._thread
        self.ending.set()
        self._server.shutdown()
        self._thread.join()
        self._server.hang_up()
        self._server.server_close()
        assert not self.faults, self.faults

    @property
    def address(self) -> str:
        """Its URL."""
        assert self._server
        return f"https://{HOST}:{self._server.server_address[1]}"

    def count(self, purpose: Purpose, *, forwarded: bool = False) -> int:
        """How many requests of a purpose came, or went on to the real server."""
        found = [each for each in self.seen if each.purpose is purpose]
        return sum(each.forwarded or not forwarded for each in found)

    def honest(self) -> None:
        """Do nothing odd any more, and forget what was seen."""
        self.deeds.clear()
        self.seen.clear()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 64

    def __init__(self, proxy: HostileProxy, context: ssl.SSLContext) -> None:
        super().__init__((HOST, 0), _Connection)
        self.proxy = proxy
        self.open: set[socket.socket] = set()
        # The handshake is made by the connection's own thread, at the first read.
        self.socket = context.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )

    def hang_up(self) -> None:
        """End connections that are kept alive: their threads wait for one more request."""
        for each in tuple(self.open):
            with contextlib.suppress(OSError):
                each.shutdown(2)

    def handle_error(self, *_: object) -> None:
        """Stay silent: clients of a hostile server hang up in all kinds of ways."""


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.open.add(self.connection)

    def finish(self) -> None:
        self.server.open.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        proxy = self.server.proxy
        exchange = Exchange(
            proxy=proxy,
            purpose=purpose_of(self.path),
            method=self.command,
            path=self.path,
            headers={name.title(): value for name, value in self.headers.items()},
            body=self.rfile.read(int(self.headers.get("Content-Length", "0"))),
            channel=self.connection,
        )
        proxy.seen.append(exchange)
        try:
            proxy.deeds.get(exchange.purpose, honestly)(exchange)
        except (CutOff, OSError):
            self.close_connection = True
        except Exception as e:  # noqa: BLE001  # a deed's own defect must not pass for a cut
            proxy.faults.append(e)
            self.close_connection = True

    do_POST = do_PUT = do_GET  # noqa: N815  # names that the library asks for
