"""What a server on loopback shows to one who calls it: its leaf, or how it takes a client."""

from __future__ import annotations

import hashlib
import http.client
import os
import socket
import ssl
from typing import TYPE_CHECKING

from tests.factories import make_client_spec
from tests.matrix.publishing import CLOCK, LIFE
from tests.testbed.inventory import HOST

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.factories import Lab

_TIMEOUT = 15.0
OK, UNAUTHORIZED, FORBIDDEN = 200, 401, 403
PASSED_ON = {"X-Remote-User": "somebody", "X-Remote-Group": "system:masters"}
"""What a front proxy says of whoever asked it."""


def digest(tls: ssl.SSLSocket) -> str:
    """SHA-256 of the certificate that the other side presented; empty if none."""
    der = tls.getpeercert(binary_form=True)
    return hashlib.sha256(der).hexdigest() if der else ""


def served(port: int, name: str | None = None, host: str = HOST) -> str:
    """The leaf that a server presents (for a name): SHA-256, hex."""
    with (
        socket.create_connection((host, port), _TIMEOUT) as plain,
        anyone().wrap_socket(plain, server_hostname=name) as tls,
    ):
        return digest(tls)


def anyone() -> ssl.SSLContext:
    """TLS that takes whatever is served and presents nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Caller:
    """Clients of any CA; `folder` takes their pairs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True)
        self._contexts: dict[tuple[bytes, str, tuple[str, ...]], ssl.SSLContext] = {}

    def context(
        self, lab: Lab, name: str, organizations: tuple[str, ...] = ("system:masters",)
    ) -> ssl.SSLContext:
        """TLS with a certificate of this name, made once, of this CA."""
        key = (lab.certificate, name, organizations)
        if key not in self._contexts:
            spec = make_client_spec(
                self._folder, common_name=name, organizations=organizations, ttl=LIFE
            )
            verified = lab.issue(spec, CLOCK.now())
            path = self._folder / f"{verified.leaf.fingerprint}.pem"
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
                file.write(b"".join(verified.chain) + verified.private_key.reveal())
            context = anyone()
            context.load_cert_chain(path)
            self._contexts[key] = context
        return self._contexts[key]


def status(
    port: int,
    path: str,
    context: ssl.SSLContext,
    headers: Mapping[str, str] | None = None,
    host: str = HOST,
) -> int:
    """HTTP status of a GET on a connection of its own."""
    connection = http.client.HTTPSConnection(host, port, timeout=_TIMEOUT, context=context)
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def known(
    port: int,
    path: str,
    context: ssl.SSLContext,
    headers: Mapping[str, str] | None = None,
    host: str = HOST,
) -> bool:
    """Whether a Kubernetes server takes a client for somebody who may do everything.

    Raises:
        AssertionError: it neither does nor refuses.
    """
    found = status(port, path, context, headers, host)
    assert found in (OK, UNAUTHORIZED, FORBIDDEN), f"HTTP {found} of port {port}"
    return found == OK


def admitted(port: int, path: str, context: ssl.SSLContext) -> bool:
    """Whether a server that looks at clients during the handshake (etcd) serves this one."""
    try:
        return status(port, path, context) == OK
    except (ssl.SSLError, ConnectionError):
        return False
