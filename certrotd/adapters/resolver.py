"""The system's resolver, with a time limit: getaddrinfo(3) has none that could be set."""

from __future__ import annotations

import socket
import threading
from ipaddress import IPv4Address, IPv6Address, ip_address

from certrotd.core.errors import TransientError

LIMIT = 3.0
"""Seconds."""
MOST = 8
"""How many look-ups may hang at the same time."""
_NO_SUCH_NAME = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))


class SystemResolver:
    """Looks names up in threads, which are left behind where the system's resolver hangs."""

    def __init__(self, limit: float = LIMIT) -> None:
        self._limit = limit
        self._free = threading.BoundedSemaphore(MOST)

    def addresses(self, name: str) -> frozenset[IPv4Address | IPv6Address]:
        """Return what a name resolves to, absolutely: search domains are not tried.

        Raises:
            TransientError: there was no answer in time, or none that says yes or no.
        """
        found: list[frozenset[IPv4Address | IPv6Address] | OSError] = []
        if not self._free.acquire(blocking=False):
            raise TransientError(f"cannot resolve {name}: {MOST} look-ups hang")

        def look() -> None:
            try:
                answer = socket.getaddrinfo(f"{name.rstrip('.')}.", None, type=socket.SOCK_STREAM)
                found.append(frozenset(ip_address(str(each[4][0])) for each in answer))
            except OSError as e:
                found.append(e)
            finally:
                self._free.release()

        thread = threading.Thread(target=look, name=f"resolve {name}", daemon=True)
        thread.start()
        thread.join(self._limit)
        if not found:
            raise TransientError(f"cannot resolve {name}: no answer within {self._limit:g} s")
        (result,) = found
        if isinstance(result, OSError):
            if result.errno in _NO_SUCH_NAME:
                return frozenset()
            raise TransientError(f"cannot resolve {name}: {result}") from result
        return result
