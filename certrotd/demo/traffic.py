"""A client that keeps asking every server, each time on a new mTLS connection."""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from certrotd.demo.server import HOST

if TYPE_CHECKING:
    from certrotd.demo.lab import Lab

PAUSE = 0.03
"""Seconds between two requests to one server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, with its times on the monotonic clock; `error` is empty if it was answered."""

    server: str
    began: float
    ended: float
    error: str = ""


class Traffic:
    """Asks while a `with` block lasts; afterwards `requests` has what happened."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._stop = threading.Event()
        # Daemons: an interrupt can come between the start of one and the `with` block.
        self._threads = [
            threading.Thread(target=self._ask, args=(name,), daemon=True) for name in lab.roles
        ]
        self.requests: list[Request] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def failed(self) -> list[Request]:
        """Return the requests that were not answered with 200."""
        return [each for each in self.requests if each.error]

    def unexplained(self) -> list[Request]:
        """Return the failures that no restart of the server in question explains."""
        outages = {name: self._lab.outages(name) for name in self._lab.roles}
        return [
            each
            for each in self.failed()
            if not any(
                outage.since <= each.ended and each.began <= outage.until
                for outage in outages[each.server]
            )
        ]

    def _ask(self, name: str) -> None:
        role = self._lab.roles[name]
        context = self._lab.client(name).context(ssl.PROTOCOL_TLS_CLIENT)
        while not self._stop.is_set():
            began, error = time.monotonic(), ""
            call = http.client.HTTPSConnection(HOST, role.port, context=context, timeout=5)
            try:
                call.request("GET", role.path)
                answer = call.getresponse()
                answer.read()
                if answer.status != http.HTTPStatus.OK:
                    error = f"status {answer.status}"
            except (OSError, http.client.HTTPException) as e:
                error = f"{type(e).__name__}: {e}"
            finally:
                call.close()
            self.requests.append(
                Request(server=name, began=began, ended=time.monotonic(), error=error)
            )
            self._stop.wait(PAUSE)
