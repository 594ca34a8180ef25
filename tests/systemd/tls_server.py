"""A TLS server with systemd's notification, from the standard library alone, run in the container.

`tls_server.py PORT CERTIFICATE KEY [ACCEPTED]`: reads its pair at the start and on SIGHUP. If the
file ACCEPTED exists, it refuses every leaf but the one whose SHA-256 stands there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import ssl
import sys
import threading
from pathlib import Path


def context(certificate: str, key: str, accepted: str | None) -> ssl.SSLContext:
    """Load the pair as it lies there now."""
    if accepted and Path(accepted).exists():
        pem = Path(certificate).read_text()
        leaf = ssl.PEM_cert_to_DER_cert(pem[: pem.index(ssl.PEM_FOOTER)] + ssl.PEM_FOOTER)
        if hashlib.sha256(leaf).hexdigest() != Path(accepted).read_text():
            sys.exit("this certificate is not acceptable")
    loaded = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    loaded.load_cert_chain(certificate, key)
    return loaded


def answer(connection: socket.socket, serving: ssl.SSLContext) -> None:
    """Shake hands and wait for the end."""
    connection.settimeout(5)
    with contextlib.suppress(OSError), serving.wrap_socket(connection, server_side=True) as tls:
        tls.recv(1)


def main(port: str, certificate: str, key: str, accepted: str | None = None) -> None:
    """Serve until SIGTERM."""
    serving = context(certificate, key, accepted)

    def renew(*_: object) -> None:
        nonlocal serving
        serving = context(certificate, key, accepted)

    signal.signal(signal.SIGHUP, renew)
    with socket.create_server(("127.0.0.1", int(port))) as listener:
        print("listening", flush=True)
        if address := os.environ.get("NOTIFY_SOCKET"):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.sendto(b"READY=1", address.replace("@", "\0", 1))
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=answer, args=(connection, serving), daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
