"""One authenticated HTTPS GET: as a proof of a client certificate, and as a health check.

No redirect is followed, no proxy is used, and both time and the answer's size are bounded. The
answer is read to its end first and parsed then, as the limits of `http.client` are for one read
each: a server that dribbles could hold it for ever.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from certrotd.adapters.probes.connection import (
    TIMEOUT,
    Deadline,
    Unusable,
    client_context,
    connect,
    excerpt,
    present,
    told,
)
from certrotd.core.model import CertificateName, Evidence

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Mapping

    from certrotd.core.model import Expectation, Output

BODY = 64 * 1024
"""How much of an answer is looked at, in bytes."""
HEAD = 64 * 1024
"""How long status line and headers may be, in bytes."""
HTTPS = 443


class _NoAnswer(Exception):
    """There was no HTTP answer; `reachable` tells whether somebody accepted the connection."""

    def __init__(self, detail: str, *, reachable: bool = True) -> None:
        super().__init__(detail)
        self.reachable = reachable


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    status: int
    body: str

    def __str__(self) -> str:
        # The verbose health checks of Kubernetes mark what fails with [-].
        failing = [line for line in self.body.splitlines() if line.startswith("[-]")]
        said = excerpt("; ".join(failing) or self.body)
        return f'{self.status}, "{said}"' if said else str(self.status)


@dataclass(frozen=True, slots=True)
class ClientProof:
    """A server accepts the published pair of `certificate` for a GET of `url`.

    `client` are that certificate's outputs, `ca_file` what the server's own certificate must
    build to, `statuses` the answers that count as accepted.
    """

    url: str
    certificate: CertificateName
    client: tuple[Output, ...]
    ca_file: str
    statuses: tuple[int, ...] = (200,)
    timeout: float = TIMEOUT

    def check(self, expected: Mapping[CertificateName, Expectation]) -> Evidence:
        """Check that the files hold the published pair, then make one call with it."""
        expectation = expected.get(self.certificate)
        try:
            context = client_context(self.ca_file)
            leaf = present(context, self.client)
        except Unusable as e:
            return self._evidence(str(e), reachable=False)
        if expectation is None:
            return self._evidence(f"nothing has been published as {self.certificate} yet")
        if leaf.fingerprint != expectation.fingerprint:
            return self._evidence(
                f"the files hold serial {leaf.serial} (expected {expectation.serial})"
            )
        try:
            answer = _get(self.url, context, self.timeout)
        except _NoAnswer as e:
            return self._evidence(str(e), reachable=e.reachable)
        accepted = answer.status in self.statuses
        detail = f"{answer.status if accepted else answer} with serial {leaf.serial}"
        return self._evidence(detail, holds=accepted)

    def _evidence(self, detail: str, *, holds: bool = False, reachable: bool = True) -> Evidence:
        return Evidence(
            source=f"client {self.url}",
            holds=holds,
            detail=f"GET {self.url} as {self.certificate}: {detail}",
            certificate=self.certificate,
            reachable=reachable,
        )


@dataclass(frozen=True, slots=True)
class HttpGate:
    """A GET of `url` answers with one of `statuses`, and with `contains` in its body if given.

    `ca_file` is what the server's certificate must build to, `client` the outputs of a pair to
    present.
    """

    url: str
    ca_file: str
    statuses: tuple[int, ...] = (200,)
    client: tuple[Output, ...] | None = None
    contains: str | None = None
    timeout: float = TIMEOUT

    def check(self) -> Evidence:
        """Make one call."""
        try:
            context = client_context(self.ca_file)
            if self.client:
                present(context, self.client)
            answer = _get(self.url, context, self.timeout)
        except Unusable as e:
            return self._evidence(str(e))
        except _NoAnswer as e:
            return self._evidence(str(e), reachable=e.reachable)
        if answer.status not in self.statuses:
            return self._evidence(str(answer))
        if self.contains is not None and self.contains not in answer.body:
            return self._evidence(f'{answer} without "{self.contains}"')
        return self._evidence(str(answer.status), holds=True)

    def _evidence(self, detail: str, *, holds: bool = False, reachable: bool = True) -> Evidence:
        return Evidence(
            source=self.url,
            holds=holds,
            detail=f"GET {self.url}: {detail}",
            reachable=reachable,
        )


def _get(url: str, context: ssl.SSLContext, timeout: float) -> _Answer:
    """Make one request on a connection of its own.

    Raises:
        _NoAnswer: nothing came that HTTP could mean.
    """
    from urllib.parse import urlsplit  # noqa: PLC0415  # with http.client, see _parsed

    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or HTTPS
    path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
    lines = (
        f"GET {path} HTTP/1.1",
        f"Host: {parts.netloc.rpartition('@')[2]}",
        "User-Agent: certrotd",
        "Accept: */*",
        "Connection: close",
    )
    request = "".join(f"{line}\r\n" for line in (*lines, "")).encode()
    deadline = Deadline(timeout)
    try:
        channel = connect(host, port, deadline)
    except OSError as e:
        raise _NoAnswer(told(e, timeout), reachable=False) from e
    try:
        with channel:
            channel.settimeout(deadline.left())
            with context.wrap_socket(channel, server_hostname=host) as secured:
                # A server of TLS 1.3 that refuses our certificate may hang up while we write; what
                # it said about it is still there to be read.
                with contextlib.suppress(OSError):
                    secured.sendall(request)
                raw = _read(secured, deadline)
    except OSError as e:
        raise _NoAnswer(told(e, timeout)) from e
    return _parsed(raw)


def _read(channel: socket.socket, deadline: Deadline) -> bytes:
    """Read to the end of the answer, or as much as is looked at."""
    chunks, size = [], 0
    while size < HEAD + BODY:
        channel.settimeout(deadline.left())
        chunk = channel.recv(HEAD)
        if not chunk:
            break
        chunks.append(chunk)
        size += len(chunk)
    return b"".join(chunks)


class _Recorded:
    """What `http.client` needs of a socket."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._raw)


def _parsed(raw: bytes) -> _Answer:
    # Imported here because only a call needs it, and it takes 15 ms.
    from http.client import HTTPException, HTTPResponse, IncompleteRead  # noqa: PLC0415

    response = HTTPResponse(_Recorded(raw))  # type: ignore[arg-type]  # it only calls makefile
    try:
        response.begin()
        try:
            body = response.read(BODY)
        except IncompleteRead as e:
            body = e.partial
    except (HTTPException, ValueError) as e:
        raise _NoAnswer("the answer is not HTTP" if raw else "the server hung up") from e
    return _Answer(status=response.status, body=body.decode(errors="replace"))
