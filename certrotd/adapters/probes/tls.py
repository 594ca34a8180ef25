"""The served leaf, read from a fresh handshake; and whether a port is open at all."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from certrotd.adapters.probes.connection import (
    TIMEOUT,
    Deadline,
    Unusable,
    client_context,
    connect,
    present,
    split_address,
    told,
)
from certrotd.core.model import CertificateName, Evidence
from certrotd.core.x509 import parse_certificate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from certrotd.core.model import Expectation, Output, ParsedCertificate


@dataclass(frozen=True, slots=True)
class TlsProof:
    """A listener at `address` (`host:port`) presents the published leaf of `certificate`.

    Nothing is trusted and nothing verified: only the fingerprint counts. `client` are the outputs
    of a pair to present where the server asks for one; a server of TLS 1.3 shows its leaf also
    to those it then refuses. `server_name` is the name to ask for (SNI), the host if left out.
    """

    address: str
    certificate: CertificateName
    server_name: str | None = None
    client: tuple[Output, ...] | None = None
    timeout: float = TIMEOUT

    def check(self, expected: Mapping[CertificateName, Expectation]) -> Evidence:
        """Make one handshake, within `timeout` seconds."""
        deadline = Deadline(self.timeout)
        host, port = split_address(self.address)
        context = client_context(None)
        handicap = ""
        if self.client:
            try:
                present(context, self.client)
            except Unusable as e:
                # Told only if it matters: most servers show their leaf all the same.
                handicap = f" (no client certificate was presented: {e})"
        try:
            channel = connect(host, port, deadline)
        except OSError as e:
            return self._evidence(told(e, self.timeout) + handicap, reachable=False)
        try:
            with channel:
                channel.settimeout(deadline.left())
                name = self.server_name or host
                with context.wrap_socket(channel, server_hostname=name) as secured:
                    leaf = secured.getpeercert(binary_form=True)
        except (OSError, ValueError) as e:
            # ValueError: a name that cannot be sent, or a handshake that ended in between.
            cause = told(e, self.timeout) if isinstance(e, OSError) else str(e)
            return self._evidence(cause + handicap)
        if leaf is None:
            return self._evidence("no certificate was presented")
        return self._judge(leaf, expected.get(self.certificate))

    def _judge(self, leaf: bytes, expectation: Expectation | None) -> Evidence:
        parsed = _parsed(leaf)
        served = parsed.serial if parsed else None
        shown = f"presents serial {served}" if served else "presents a certificate"
        if expectation is None:
            detail = f"{shown}; nothing has been published as {self.certificate} yet"
            return self._evidence(detail, served=served)
        if hashlib.sha256(leaf).hexdigest() == expectation.fingerprint:
            return self._evidence(shown, served=served, holds=True)
        if parsed and expectation.subject and parsed.subject != expectation.subject:
            detail = f"{shown} of {parsed.subject}: that is not {expectation.subject}"
            return self._evidence(detail, served=served, foreign=True)
        return self._evidence(f"{shown} (expected {expectation.serial})", served=served, stale=True)

    def _evidence(
        self,
        detail: str,
        *,
        holds: bool = False,
        served: str | None = None,
        stale: bool = False,
        reachable: bool = True,
        foreign: bool = False,
    ) -> Evidence:
        asked = f" as {self.server_name}" if self.server_name else ""
        separator = " " if served else ": "
        return Evidence(
            source=f"tls {self.address}{asked}",
            holds=holds,
            detail=f"{self.address}{asked}{separator}{detail}",
            certificate=self.certificate,
            served=served,
            stale=stale,
            reachable=reachable,
            foreign=foreign,
        )


@dataclass(frozen=True, slots=True)
class TcpGate:
    """A TCP connection to `address` (`host:port`) is accepted within `timeout` seconds."""

    address: str
    timeout: float = TIMEOUT

    def check(self) -> Evidence:
        """Connect once."""
        source = f"tcp {self.address}"
        try:
            connect(*split_address(self.address), Deadline(self.timeout)).close()
        except OSError as e:
            detail = f"{self.address}: {told(e, self.timeout)}"
            return Evidence(source=source, holds=False, detail=detail, reachable=False)
        return Evidence(source=source, holds=True, detail=f"{self.address}: accepts connections")


def served_leaf(address: str, server_name: str, timeout: float) -> ParsedCertificate:
    """Return the leaf that `address` presents to who asks for `server_name`; nothing is verified.

    Raises:
        OSError: no handshake was made.
        ValueError: what was presented cannot be read.
    """
    deadline = Deadline(timeout)
    with connect(*split_address(address), deadline) as channel:
        channel.settimeout(deadline.left())
        with client_context(None).wrap_socket(channel, server_hostname=server_name) as secured:
            leaf = secured.getpeercert(binary_form=True)
    if leaf is None or (parsed := _parsed(leaf)) is None:
        raise ValueError("no certificate was presented that can be read")
    return parsed


def _parsed(leaf: bytes) -> ParsedCertificate | None:
    import ssl  # noqa: PLC0415  # see connection.client_context

    try:
        return parse_certificate(ssl.DER_cert_to_PEM_cert(leaf).encode())
    except ValueError:
        return None
