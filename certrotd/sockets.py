"""TLS sockets on which a whole answer has one time limit, not every piece of it.

A socket's time limit is for one read, so a server that sends a byte now and then, or interim
answers (RFC 9110 section 15.2) or trailers without end, would never be given up. Shared by the
adapters that speak HTTP through urllib3.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer


def socket_class(left: Callable[[], float]) -> type[ssl.SSLSocket]:
    """Return a kind of socket that reads while `left()` returns seconds; TimeoutError ends it."""

    class Socket(ssl.SSLSocket):
        def recv_into(self, buffer: Buffer, nbytes: int | None = None, flags: int = 0) -> int:
            self.settimeout(left())
            return super().recv_into(buffer, nbytes, flags)

    return Socket
