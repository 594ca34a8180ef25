"""TLS sockets on which a whole answer has one time limit, not every piece of it.

A socket's time limit is for one read, so a server that sends a byte now and then, or interim
answers (RFC 9110 section 15.2) or trailers without end, would never be given up. Shared by the
adapters that speak HTTP through urllib3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from typing_extensions import Buffer


def socket_class(left: Callable[[], float]) -> type[ssl.SSLSocket]:
    """Return a kind of socket that reads while `left()` returns seconds; TimeoutError ends it."""
    import ssl  # noqa: PLC0415  # start-up time of commands that ask nobody

    class Socket(ssl.SSLSocket):
        def recv_into(self, buffer: Buffer, nbytes: int | None = None, flags: int = 0) -> int:
            self.settimeout(left())
            return super().recv_into(buffer, nbytes, flags)

    return Socket


def seconds_left(ends: float, now: float) -> float:
    """Return the seconds from `now` until `ends`, both on a clock that never jumps.

    Raises:
        TimeoutError: there are none.
    """
    seconds = ends - now
    if seconds <= 0:
        raise TimeoutError("no time is left")
    return seconds
