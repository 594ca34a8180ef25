"""Real listeners on loopback, each with a thread of its own."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

from certrotd.adapters.clock import SystemClock
from certrotd.core.model import Expectation, OutputKind
from certrotd.core.render import render
from tests.factories import Lab

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from certrotd.core.model import CertificateName, Verified

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def lab_of_today() -> Lab:
    """A lab whose certificates are valid now: the peers of these tests look at the real clock."""
    return Lab(SystemClock().now())


def put(verified: Verified) -> Verified:
    """Write a pair's files, as far as listeners and probes need them."""
    for output, content in render(verified):
        Path(output.path).write_bytes(content.reveal())
    return verified


def expecting(*verified: Verified) -> dict[CertificateName, Expectation]:
    """What a proof looks for when these were published now."""
    return {
        each.spec.name: Expectation(
            certificate=each.spec.name,
            fingerprint=each.leaf.fingerprint,
            serial=each.leaf.serial,
            published_at=SystemClock().now(),
        )
        for each in verified
    }


class Listener:
    """Accepts on a free port of loopback and hands each connection to `serve`, one by one."""

    def __init__(self, serve: Callable[[socket.socket], None], host: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, 0), family=family)
        self._serve = serve
        self._thread = threading.Thread(target=self._accept)
        port = self._socket.getsockname()[1]
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)  # wakes `accept`
        self._thread.join()
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                channel, _ = self._socket.accept()
            except OSError:
                return
            with channel, contextlib.suppress(OSError):
                channel.settimeout(10)
                self._serve(channel)


def healthz(channel: socket.socket) -> None:
    """Serve plain HTTP as a component that is well."""
    channel.recv(65536)
    channel.sendall(OK)


class TlsServer:
    """How a listener of `pair` serves TLS: reads its files at each handshake, as etcd does.

    Give `client_ca` to insist on client certificates, `newest` to limit the TLS version, and
    `answer` for what it says to a request. `requests` are those it got.
    """

    def __init__(
        self,
        pair: Verified,
        *,
        client_ca: bytes | None = None,
        newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
        answer: bytes | Callable[[ssl.SSLSocket], None] = OK,
    ) -> None:
        self._paths = {output.kind: output.path for output in pair.spec.outputs}
        self._client_ca = client_ca
        self._newest = newest
        self._answer = answer
        self.requests: list[bytes] = []
        self.peers: list[str] = []
        self.names: list[str | None] = []

    def __call__(self, channel: socket.socket) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._paths[OutputKind.CERTIFICATE], self._paths[OutputKind.KEY])
        context.maximum_version = self._newest
        context.sni_callback = lambda _socket, name, _context: self.names.append(name)
        if self._client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=self._client_ca.decode())
        with context.wrap_socket(channel, server_side=True) as secured:
            peer = secured.getpeercert() if self._client_ca is not None else None
            if peer:
                self.peers.append(str(peer["serialNumber"]))
            if request := secured.recv(65536):
                self.requests.append(request)
                if isinstance(self._answer, bytes):
                    secured.sendall(self._answer)
                else:
                    self._answer(secured)
