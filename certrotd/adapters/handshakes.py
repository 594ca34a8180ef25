"""Certificates as servers present them, whoever signed them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certrotd.core.errors import TransientError
from certrotd.core.x509 import parse_certificate

if TYPE_CHECKING:
    from certrotd.core.model import ParsedCertificate
    from certrotd.core.model.kubelets import KubeletEndpoint

LIMIT = 3.0
"""Seconds for connection and handshake."""


class TlsHandshakes:
    """One handshake for each question; nothing is sent after it."""

    def leaf(self, endpoint: KubeletEndpoint) -> ParsedCertificate:
        """Return what is presented.

        Raises:
            TransientError: nobody answers, or with nothing that can be read.
        """
        import ssl  # noqa: PLC0415  # start-up time

        try:
            address = (endpoint.address, endpoint.port)
            return parse_certificate(ssl.get_server_certificate(address, timeout=LIMIT).encode())
        except (OSError, ValueError) as e:
            where = f"{endpoint.node} ({endpoint.address}:{endpoint.port})"
            raise TransientError(f"the kubelet of {where} presents nothing: {e}") from e
