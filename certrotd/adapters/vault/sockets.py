"""TLS connections on which a whole answer has one time limit, not every piece of it.

A socket's time limit is for one read, so a server that sends a byte now and then, or interim
answers (RFC 9110 section 15.2) or trailers without end, would never be given up.
requests looks at redirects even where it must not follow them: it reads the body, however long.
"""

from __future__ import annotations

import math
import ssl
from typing import TYPE_CHECKING, Any

from requests import Session
from requests.adapters import HTTPAdapter
from urllib3.util.ssl_ import create_urllib3_context

if TYPE_CHECKING:
    from requests import Response
    from typing_extensions import Buffer

    from certrotd.ports import Clock


class Unmoved(Session):
    """A session that sees no redirects, only answers with such a status."""

    def get_redirect_target(self, resp: Response) -> str | None:
        """Say that there is none."""
        del resp
        return None


class Bounded(HTTPAdapter):
    """Connections that are read from until `ends` (monotonic) and not a moment longer."""

    def __init__(self, clock: Clock) -> None:
        self.ends = math.inf
        self._clock = clock
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make connections with sockets that know when to stop."""
        context = create_urllib3_context()
        context.sslsocket_class = _socket_class(self)
        super().init_poolmanager(*args, ssl_context=context, **kwargs)

    def left(self) -> float:
        """Return the seconds that are left.

        Raises:
            TimeoutError: there are none.
        """
        left = self.ends - self._clock.monotonic()
        if left <= 0:
            raise TimeoutError("no time is left")
        return left


def _socket_class(bounded: Bounded) -> type[ssl.SSLSocket]:
    class Socket(ssl.SSLSocket):
        def recv_into(self, buffer: Buffer, nbytes: int | None = None, flags: int = 0) -> int:
            self.settimeout(bounded.left())
            return super().recv_into(buffer, nbytes, flags)

    return Socket
