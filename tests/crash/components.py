"""Three small TLS servers in a process of their own: what a rotation is done for.

`python -m tests.crash.components` prints its ports and takes orders, one a line, from its standard
input; each has a number and is answered by one line with that number. It needs the standard library
alone.

    etcd        reads its files at each handshake
    apiserver   reads them at SIGHUP and goes on with the old ones if they are no good
    scheduler   reads them when it is started
"""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass, field

HOST = "127.0.0.1"
NAMES = ("etcd", "apiserver", "scheduler")


@dataclass(slots=True)
class _Server:
    """One listener: which files it reads and what it serves."""

    listener: socket.socket
    up: bool = False
    files: tuple[str, str] = ("", "")
    context: ssl.SSLContext | None = None
    at_each_handshake: bool = False

    def start(self) -> bool:
        if not self.load():
            return False
        if not self.up:
            self.listener.listen(128)
            self.up = True
        return True

    def end(self) -> None:
        if self.up:
            # It keeps its port: nobody else can have it meanwhile.
            self.listener.shutdown(socket.SHUT_RDWR)
            self.up = False

    def load(self) -> bool:
        fresh = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            fresh.load_cert_chain(*self.files)
        except OSError:
            return False
        self.context = fresh
        return True

    def answer(self) -> None:
        channel, _ = self.listener.accept()
        if self.at_each_handshake:
            self.load()
        with contextlib.suppress(OSError), channel:
            channel.settimeout(5)
            if self.context is not None:
                self.context.wrap_socket(channel, server_side=True).close()


@dataclass(slots=True)
class _Plane:
    """All of them, served by one thread."""

    servers: dict[str, _Server] = field(default_factory=dict)

    def obey(self, order: str, name: str, *files: str) -> str:
        """`start NAME [CERTIFICATE KEY]`, `end NAME`."""
        server = self.servers[name]
        if files:
            server.files = (files[0], files[1])
        if order == "end":
            server.end()
            return "done"
        return "done" if server.start() else "refused"

    def serve(self) -> None:
        while True:
            listeners = {each.listener: each for each in self.servers.values() if each.up}
            ready = select.select([sys.stdin, *listeners], [], [])[0]
            for each in listeners.keys() & ready:
                listeners[each].answer()
            if sys.stdin in ready:
                if not (line := sys.stdin.readline()):
                    return
                number, *order = line.split()
                print(number, self.obey(*order), flush=True)


def main() -> None:
    """Serve until standard input ends."""
    plane = _Plane()
    for name in NAMES:
        plane.servers[name] = _Server(_bound(), at_each_handshake=name == "etcd")
    signal.signal(signal.SIGHUP, lambda *_: void(plane.servers["apiserver"].load()))
    print(*(each.listener.getsockname()[1] for each in plane.servers.values()), flush=True)
    plane.serve()


def _bound() -> socket.socket:
    """Return a socket with a port of its own, which it keeps while it does not listen."""
    free = socket.create_server((HOST, 0))
    port = free.getsockname()[1]
    free.close()
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((HOST, port))
    return made


def void(_: object) -> None:
    """Take a value and give nothing back."""


class Components:
    """The process, from outside."""

    def __init__(self) -> None:
        argv = [sys.executable, "-m", "tests.crash.components"]
        # No buffer: an order that could not be given must not go with the next one.
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self.pid = self._process.pid
        self.up: set[str] = set()
        ports = map(int, self._line().split())
        self.ports = dict(zip(NAMES, ports, strict=True))

    def order(self, order: str, name: str, *files: str) -> bool:
        """Give an order; False if it was refused."""
        assert self._process.stdin is not None
        number = str(time.monotonic_ns())
        self._process.stdin.write(f"{' '.join((number, order, name, *files))}\n".encode())
        # One who was killed may have left the answer to its own order.
        while (answer := self._line().split()) and answer[0] != number:
            pass
        obeyed = answer == [number, "done"]
        # What is not `ended` on purpose is meant to be up, even if it does not come back.
        (self.up.discard if order == "end" else self.up.add)(name)
        return obeyed

    def served(self, name: str) -> bytes | None:
        """Return the leaf that a server presents in a handshake made now, DER."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            with (
                socket.create_connection((HOST, self.ports[name]), timeout=5) as channel,
                context.wrap_socket(channel) as secured,
            ):
                return secured.getpeercert(binary_form=True)
        except OSError:
            return None

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().decode().strip()


if __name__ == "__main__":
    main()
