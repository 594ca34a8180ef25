"""Connections on which a whole answer has one time limit, and no redirect is looked at.

requests looks at redirects even where it must not follow them: it reads the body, however long.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from requests import Session
from requests.adapters import HTTPAdapter
from urllib3.util.ssl_ import create_urllib3_context

from certrotd.sockets import seconds_left, socket_class

if TYPE_CHECKING:
    from requests import Response

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
        context.sslsocket_class = socket_class(self.left)
        super().init_poolmanager(*args, ssl_context=context, **kwargs)

    def left(self) -> float:
        """Return the seconds that are left.

        Raises:
            TimeoutError: there are none.
        """
        return seconds_left(self.ends, self._clock.monotonic())
