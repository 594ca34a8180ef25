"""Makes a server of this machine answer in a node whose network is its own."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from tests.testbed.namespaces import Namespaces

HOST = "127.0.0.1"
_BLOCK = 1 << 16


class Relay:
    """Listens inside on a port of HOST and passes every connection to the same port out here."""

    def __init__(self, namespaces: Namespaces, port: int) -> None:
        self._address = (HOST, port)
        # A socket belongs to the network it was made in, whoever accepts from it.
        self._listener = namespaces.call(socket.create_server, self._address)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, name="relay", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes who accepts
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                inside, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(inside,), daemon=True).start()

    def _serve(self, inside: socket.socket) -> None:
        with inside, suppress(OSError), socket.create_connection(self._address) as outside:
            back = threading.Thread(target=_pass_on, args=(outside, inside), daemon=True)
            back.start()
            _pass_on(inside, outside)
            back.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(_BLOCK):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
