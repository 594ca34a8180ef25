"""One mTLS server that stands in for a component: `python -m certrotd.demo.server FOLDER NAME`.

It needs the standard library alone. What it is told stands in `FOLDER/servers.json`; what it does
is written down in `FOLDER/run/NAME.events`.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import select
import signal
import ssl
import sys
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import socket
    from typing import Any

HOST = "127.0.0.1"
Renewal = Literal["handshake", "signal", "start"]
"""When a server reads its files again."""
PATIENCE = 5.0
"""Seconds a peer may be silent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A pair on disk, and the CA that the other side must show to be of; PEM files."""

    certificate: str
    key: str
    ca: str

    def context(self, protocol: int) -> ssl.SSLContext:
        """Load the three files as they lie there now."""
        context = ssl.SSLContext(protocol)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(self.ca)
        context.load_cert_chain(self.certificate, self.key)
        return context


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """Another server whose health is part of one's own."""

    port: int
    path: str
    client: Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What one server is told."""

    name: str
    port: int
    path: str
    serving: Identity
    renews: Renewal
    upstream: Upstream | None = None

    @classmethod
    def read(cls, folder: Path, name: str) -> Role:
        """Read it from `servers.json`."""
        given = json.loads((folder / "servers.json").read_text())[name]
        above = given["upstream"]
        upstream = Upstream(**above | {"client": Identity(**above["client"])}) if above else None
        return cls(**given | {"serving": Identity(**given["serving"]), "upstream": upstream})


class Server(ThreadingHTTPServer):
    """Answers every GET with its health, to clients that show a certificate."""

    request_queue_size = 128
    daemon_threads = False  # requests in hand are answered before it ends

    def __init__(self, role: Role) -> None:
        self.role = role
        self.renew()
        super().__init__((HOST, role.port), _Answering)

    def server_bind(self) -> None:
        """Bind without asking the name service who 127.0.0.1 is, as HTTPServer does."""
        TCPServer.server_bind(self)

    def renew(self) -> None:
        """Read all files again."""
        self._serving = self.role.serving.context(ssl.PROTOCOL_TLS_SERVER)
        if self.role.upstream:
            self._calling = self.role.upstream.client.context(ssl.PROTOCOL_TLS_CLIENT)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands in the connection's own thread, then answer."""
        request.settimeout(PATIENCE)
        try:
            with self._context().wrap_socket(request, server_side=True) as secured:
                super().finish_request(secured, client_address)
        except OSError as e:  # a peer that went away or is not let in; ssl.SSLError is one
            print(f"{client_address}: {e}", file=sys.stderr, flush=True)  # noqa: T201

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        """Close; what was wrapped is closed already."""
        self.close_request(request)

    def healthy(self) -> bool:
        """Ask the server above, if there is one, with one's own client certificate."""
        above = self.role.upstream
        if above is None:
            return True
        call = http.client.HTTPSConnection(
            HOST, above.port, context=self._calling, timeout=PATIENCE
        )
        try:
            call.request("GET", above.path)
            return call.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException) as e:
            print(f"upstream {above.port}: {e}", file=sys.stderr, flush=True)  # noqa: T201
            return False
        finally:
            call.close()

    def _context(self) -> ssl.SSLContext:
        if self.role.renews == "handshake":
            # Between its looks at two files they may change: then the old pair serves once more.
            _renew(self)
        return self._serving


class _Answering(BaseHTTPRequestHandler):
    server: Server
    timeout = PATIENCE

    def do_GET(self) -> None:
        known = self.path == self.server.role.path
        healthy = known and self.server.healthy()
        body = b'{"health":"true"}\n' if healthy else b'{"health":"false"}\n'
        self.send_response(200 if healthy else 503 if known else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # as inherited
        """Keep the log for what is odd."""


def note(folder: Path, name: str, what: str) -> None:
    """Write down what happened when, on the clock that all processes of a machine share."""
    with (folder / "run" / f"{name}.events").open("a") as file:
        file.write(f"{time.monotonic():.6f} {what}\n")


def refuses(folder: Path, role: Role) -> bool:
    """Whether it was told to accept one certificate only, and this is another.

    `run/NAME.accepts` stands for whatever makes a real component reject a certificate: a kind of
    key it does not know, a permission, a name it misses.
    """
    accepts = folder / "run" / f"{role.name}.accepts"
    if not accepts.exists():
        return False
    leaf = ssl.PEM_cert_to_DER_cert(_first(Path(role.serving.certificate).read_text()))
    return hashlib.sha256(leaf).hexdigest() != accepts.read_text().strip()


def _first(pem: str) -> str:
    return pem[: pem.index(ssl.PEM_FOOTER) + len(ssl.PEM_FOOTER)]


def end_with_owner(folder: Path) -> None:
    """End this process when the demo that started it is gone, however that ended.

    With `--keep` there is no `run/owner`.
    """
    try:
        descriptor = os.pidfd_open(int((folder / "run" / "owner").read_text()))
    except FileNotFoundError:
        return
    except ProcessLookupError:
        os.kill(os.getpid(), signal.SIGTERM)
        return

    def wait() -> None:
        select.select([descriptor], [], [])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def main(folder: Path, name: str) -> int:
    """Serve until SIGTERM."""
    wanted = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    role = Role.read(folder, name)
    if refuses(folder, role):
        note(folder, name, "refused")
        print(f"{name}: this certificate is not acceptable", file=sys.stderr)  # noqa: T201
        return 1
    server = Server(role)
    _write_pidfile(folder / "run" / f"{name}.pid")
    serving = threading.Thread(target=server.serve_forever, args=(0.05,))
    serving.start()
    note(folder, name, "serving")
    end_with_owner(folder)
    while signal.sigwait(wanted) == signal.SIGHUP:
        if role.renews == "signal":
            _renew(server)
    server.shutdown()
    server.server_close()
    return 0


def _renew(server: Server) -> None:
    try:
        server.renew()
    except OSError as e:  # as most servers do, go on with what was loaded before
        print(f"{server.role.name}: {e}", file=sys.stderr, flush=True)  # noqa: T201


def _write_pidfile(path: Path) -> None:
    """Write it so that nobody reads half of it."""
    whole = path.with_suffix(f".{os.getpid()}")
    whole.write_text(f"{os.getpid()}\n")
    whole.rename(path)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
