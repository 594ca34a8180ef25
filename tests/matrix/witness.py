"""A TLS server that remembers which client certificate came with each request.

It stands where a component is the client: as kubelet, extension API server, etcd peer, egress
proxy, API server, or between the API server and etcd.
"""

from __future__ import annotations

import http.client
import json
import select
import socket
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from tests.matrix.looking import digest
from tests.testbed.inventory import HOST

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_TIMEOUT = 10.0
Answer = tuple[int, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Seen:
    """A request or a relayed connection, and its client's leaf (SHA-256, hex; empty if none)."""

    at: float
    fingerprint: str


class Witness:
    """Listens on loopback; use as a context manager.

    Args:
        served: Certificate and key files it presents.
        clients: PEM of the CAs whose clients it knows.
        answer: What it says to a method, path and body; by default 200 and `{}`.
        relay: Address and context of a server to which connections are passed on, byte by byte.
        enter: Called first in the thread of each connection.
    """

    def __init__(
        self,
        served: tuple[str, str],
        clients: Sequence[bytes],
        *,
        answer: Callable[[str, str, bytes], Answer] | None = None,
        relay: tuple[tuple[str, int], ssl.SSLContext] | None = None,
        enter: Callable[[], None] = lambda: None,
    ) -> None:
        self._clients = b"".join(clients).decode()
        self.answer = answer or (lambda *_: (http.client.OK, {}))
        self.relay = relay
        self.enter = enter
        self.seen: list[Seen] = []
        self.connections: set[ssl.SSLSocket] = set()
        self.present(served)
        self._server = _Server(self)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"https://{HOST}:{self.port}"

    @property
    def latest(self) -> str:
        """The leaf that came with the last request; empty if there was none."""
        return self.seen[-1].fingerprint if self.seen else ""

    def present(self, served: tuple[str, str]) -> None:
        """Present another pair from now on."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*served)
        context.load_verify_locations(cadata=self._clients)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.num_tickets = 0  # a resumed session would show the certificate of its first one
        context.set_alpn_protocols(["h2" if self.relay else "http/1.1"])
        self.context = context

    def drop(self) -> None:
        """Cut all connections."""
        for each in list(self.connections):
            with suppress(OSError):
                # Not the method of SSLSocket, which takes the session from under its reader.
                socket.socket.shutdown(each, socket.SHUT_RDWR)

    def note(self, fingerprint: str) -> None:
        """Remember one more."""
        self.seen.append(Seen(time.time(), fingerprint))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.drop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, witness: Witness) -> None:
        self.witness = witness
        super().__init__((HOST, 0), _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        witness = self.witness
        witness.enter()
        request.settimeout(_TIMEOUT)
        try:
            tls = witness.context.wrap_socket(request, server_side=True)
        except OSError:
            return  # the client does not trust what is presented, or went away
        tls.settimeout(None)
        witness.connections.add(tls)
        try:
            if witness.relay:
                witness.note(digest(tls))
                _pass_on(tls, *witness.relay)
            else:
                _Handler(tls, client_address, self)
        except OSError:
            pass  # cut, by `drop` or by the client
        finally:
            witness.connections.discard(tls)
            tls.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    connection: ssl.SSLSocket

    def _respond(self) -> None:
        self.server.witness.note(digest(self.connection))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, content = self.server.witness.answer(self.command, self.path, body)
        sent = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    do_GET = do_POST = do_PUT = do_PATCH = _respond  # noqa: N815  # names the library gives

    def do_CONNECT(self) -> None:
        """An HTTP proxy's part (RFC 9110 section 9.3.6)."""
        self.server.witness.note(digest(self.connection))
        host, port = self.path.rsplit(":", 1)
        with socket.create_connection((host, int(port)), _TIMEOUT) as target:
            self.send_response(http.client.OK)
            self.end_headers()
            _pump(self.connection, target)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _pass_on(tls: ssl.SSLSocket, address: tuple[str, int], context: ssl.SSLContext) -> None:
    with (
        socket.create_connection(address, _TIMEOUT) as plain,
        context.wrap_socket(plain, server_hostname=address[0]) as target,
    ):
        target.settimeout(None)
        _pump(tls, target)


def _pump(one: ssl.SSLSocket, other: socket.socket) -> None:
    """Copy both ways until one side ends; in one thread, as TLS sessions bear no two."""
    ways = {one: other, other: one}
    while True:
        ready = [each for each in ways if isinstance(each, ssl.SSLSocket) and each.pending()]
        for each in ready or select.select(list(ways), [], [])[0]:
            data = each.recv(65536)
            if not data:
                return
            ways[each].sendall(data)
