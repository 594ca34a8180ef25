"""What all probes share: addresses, connecting in bounded time, client identities, plain words."""

from __future__ import annotations

import os
import re
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from certrotd.core.model import Secret, StoredFile
from certrotd.core.render import identity
from certrotd.core.x509 import parse_certificate

if TYPE_CHECKING:
    import ssl

    from certrotd.core.model import Output, ParsedCertificate

TIMEOUT = 5.0
"""Seconds one look may take, if nothing else is said."""
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\s]+")


class Unusable(Exception):
    """A file a probe needs cannot be used; the text names it."""


class Deadline:
    """The end of one look: a time limit for many operations together."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left.

        Raises:
            TimeoutError: none are.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def split_address(address: str) -> tuple[str, int]:
    """Split `host:port`; an IPv6 address stands in brackets."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def connect(host: str, port: int, deadline: Deadline) -> socket.socket:
    """Open a TCP connection, trying every address of the name.

    Raises:
        OSError: none accepted in time.
    """
    refused: OSError | None = None
    try:
        places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as e:  # a label that is empty or too long
        raise OSError(f"{host} is not a host name") from e
    for family, kind, protocol, _, place in places:
        channel = socket.socket(family, kind, protocol)
        try:
            channel.settimeout(deadline.left())
            channel.connect(place)
        except OSError as e:
            channel.close()
            refused = e
        else:
            return channel
    raise refused or OSError(f"{host} has no address")


def client_context(ca_file: str | None) -> ssl.SSLContext:
    """Return a context for one connection: TLS 1.2 or newer.

    Args:
        ca_file: The anchors the server's certificate must build to, PEM; None looks at whatever
            the server presents, without trusting it.

    Raises:
        Unusable: the file cannot be read or holds no certificate.
    """
    import ssl  # noqa: PLC0415  # 24 ms that commands without probes need not wait for

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    # As in Go, whose programs we look at: what is pinned is trusted, be it an intermediate.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(ca_file)
    except ssl.SSLError as e:
        raise Unusable(f"{ca_file} holds no CA certificates") from e
    except OSError as e:
        raise Unusable(f"{ca_file} cannot be read: {e.strerror}") from e
    return context


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A certificate chain, its leaf first, and its key, PEM."""

    leaf: ParsedCertificate
    chain: bytes
    private_key: Secret


def pair_in(outputs: tuple[Output, ...]) -> Pair:
    """Return the pair that lies in `outputs`.

    Raises:
        Unusable: there is no whole pair.
    """
    try:
        found = identity(tuple(_stored(output) for output in outputs))
        leaf = parse_certificate(found.chain[0])
    except ValueError as e:
        raise Unusable(str(e)) from e
    if found.private_key is None:
        raise Unusable(f"no file holds the private key of {leaf.subject}")
    return Pair(leaf=leaf, chain=b"".join(found.chain), private_key=found.private_key)


def present(context: ssl.SSLContext, outputs: tuple[Output, ...]) -> ParsedCertificate:
    """Let a context present the pair that lies in `outputs`, and return its leaf.

    Raises:
        Unusable: there is no whole pair.
    """
    pair = pair_in(outputs)
    _load(context, pair.chain + pair.private_key.reveal(), pair.leaf)
    return pair.leaf


def _stored(output: Output) -> StoredFile:
    try:
        return StoredFile(output=output, content=Secret(Path(output.path).read_bytes()))
    except OSError as e:
        raise Unusable(f"{output.path} cannot be read: {e.strerror}") from e


def _load(context: ssl.SSLContext, pem: bytes, leaf: ParsedCertificate) -> None:
    # OpenSSL wants a file. This one is memory without a name: no key is written to a disk.
    try:
        descriptor = os.memfd_create("certrotd-identity")
    except OSError as e:
        raise Unusable(f"no memory to hand over a key in: {e.strerror}") from e
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(pem)
        # An empty password, as OpenSSL would ask for one on the terminal.
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=b"")
    except OSError as e:  # ssl.SSLError is one
        raise Unusable(f"certificate {leaf.subject} and its key cannot be used: {told(e)}") from e
    finally:
        os.close(descriptor)


def told(error: OSError, seconds: float = TIMEOUT) -> str:
    """Say what went wrong on a connection, in the words of a person."""
    import ssl  # noqa: PLC0415  # see client_context

    match error:
        case ssl.SSLError():
            return _told_by_tls(error)
        case TimeoutError():
            return f"no answer within {seconds:g} s"
        case ConnectionRefusedError():
            return "connection refused"
        case ConnectionError():
            return "the server hung up"
        case socket.gaierror():
            return f"the name cannot be resolved ({error.strerror})"
        case _:
            return error.strerror or str(error)


def _told_by_tls(error: ssl.SSLError) -> str:
    import ssl  # noqa: PLC0415  # see client_context

    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return "the server hung up"
    return f"TLS: {(error.reason or str(error)).replace('_', ' ').lower()}"


def excerpt(text: str, length: int = 120) -> str:
    """Return the beginning of a text, on one line and printable."""
    squeezed = _UNPRINTABLE.sub(" ", text).strip()
    return squeezed if len(squeezed) <= length else f"{squeezed[: length - 1]}…"
