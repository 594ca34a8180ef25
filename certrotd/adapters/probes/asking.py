"""One authenticated HTTPS GET.

No redirect is followed, no proxy is used, and both time and the answer's size are bounded. The
answer is read to its end first and parsed then, as the limits of `http.client` are for one read
each: a server that dribbles could hold it for ever.
"""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from certrotd.adapters.probes.connection import (
    Deadline,
    client_context,
    connect,
    excerpt,
    present,
    told,
)

if TYPE_CHECKING:
    import socket
    import ssl

    from certrotd.core.model import Output

BODY = 64 * 1024
"""How much of an answer is looked at, in bytes, if nothing else is said."""
HEAD = 64 * 1024
"""How long status line and headers may be, in bytes."""
MESSAGE = 240
"""How much of an API server's message is told, in characters."""
HTTPS = 443
OK, UNAUTHORIZED, FORBIDDEN, NOT_FOUND = 200, 401, 403, 404


class NoAnswer(Exception):
    """There was no HTTP answer; `reachable` tells whether somebody accepted the connection."""

    def __init__(self, detail: str, *, reachable: bool = True) -> None:
        super().__init__(detail)
        self.reachable = reachable


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer; `body` may be cut off."""

    status: int
    body: str

    def __str__(self) -> str:
        # The verbose health checks of Kubernetes mark what fails with [-].
        failing = [line for line in self.body.splitlines() if line.startswith("[-]")]
        said = excerpt("; ".join(failing) or self.body)
        return f'{self.status}, "{said}"' if said else str(self.status)


def identified(ca_file: str, client: tuple[Output, ...] | None) -> ssl.SSLContext:
    """Return a context that trusts `ca_file` and presents the pair in `client`, if given.

    Raises:
        Unusable: one of the files cannot be used.
    """
    context = client_context(ca_file)
    if client:
        present(context, client)
    return context


def get(url: str, context: ssl.SSLContext, timeout: float, *, limit: int = BODY) -> Answer:
    """Make one request on a connection of its own.

    Args:
        url: What to get; https is taken for granted.
        context: What to trust and present.
        timeout: For all of it, in seconds.
        limit: How much of the answer to read, in bytes.

    Raises:
        NoAnswer: nothing came that HTTP could mean.
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
        raise NoAnswer(told(e, timeout), reachable=False) from e
    try:
        with channel:
            channel.settimeout(deadline.left())
            with context.wrap_socket(channel, server_hostname=host) as secured:
                # A server of TLS 1.3 that refuses our certificate may hang up while we write; what
                # it said about it is still there to be read.
                with contextlib.suppress(OSError):
                    secured.sendall(request)
                raw = _read(secured, deadline, HEAD + limit)
    except OSError as e:
        raise NoAnswer(told(e, timeout)) from e
    return _parsed(raw, limit)


def _read(channel: socket.socket, deadline: Deadline, limit: int) -> bytes:
    """Read to the end of the answer, or as much as is looked at."""
    chunks, size = [], 0
    while size < limit:
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


def _parsed(raw: bytes, limit: int) -> Answer:
    # Imported here because only a call needs it, and it takes 15 ms.
    from http.client import HTTPException, HTTPResponse, IncompleteRead  # noqa: PLC0415

    response = HTTPResponse(_Recorded(raw))  # type: ignore[arg-type]  # it only calls makefile
    try:
        response.begin()
        try:
            body = response.read(limit)
        except IncompleteRead as e:
            body = e.partial
    except (HTTPException, ValueError) as e:
        raise NoAnswer("the answer is not HTTP" if raw else "the server hung up") from e
    return Answer(status=response.status, body=body.decode(errors="replace"))


def refused(answer: Answer, what: str) -> str:
    """Say why an API server did not do `what` ("list it"), in the words of a person."""
    if answer.status == UNAUTHORIZED:
        return f"401: the server wants a certificate of a user who may {what}"
    if answer.status == FORBIDDEN:
        return f"403: the certificate's user may not {what} ({_message(answer)})"
    if answer.status == NOT_FOUND:
        return f"404: there is none ({_message(answer)})"
    return str(answer)


def _message(answer: Answer) -> str:
    """Return the message of a Status object, which names the user."""
    try:
        return excerpt(str(json.loads(answer.body)["message"]), MESSAGE)
    except (ValueError, KeyError, TypeError, RecursionError):
        return str(answer)
