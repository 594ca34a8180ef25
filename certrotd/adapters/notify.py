"""Telling systemd how the daemon is: sd_notify(3) and the watchdog, sd_watchdog_enabled(3).

Without a socket to tell, everything does nothing. What cannot be told is never an error: the
certificates matter more.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time

ADDRESS = "NOTIFY_SOCKET"
WATCHDOG = "WATCHDOG_USEC"
WATCHDOG_FOR = "WATCHDOG_PID"
PATIENCE = 1.0
"""How long one message may wait for the service manager's queue, in seconds."""


class Notifier:
    """One service manager, at an address as systemd writes it: a path, or `@` and a name."""

    def __init__(self, address: str | None, watchdog: float | None = None) -> None:
        """`watchdog` is how often to ping, in seconds, or None."""
        self._watchdog = watchdog
        # Anything else (`vsock:` in virtual machines) is not for services.
        known = address is not None and address[:1] in ("/", "@") and len(address) > 1
        # A name in the abstract namespace begins with a null byte, unix(7).
        self._address = address.replace("@", "\0", 1) if known and address else None
        if known and address and address.startswith("/"):
            self._address = address

    @classmethod
    def from_environment(cls) -> Notifier:
        """Read the environment and take the variables out, so that no child thinks they are its."""
        address = os.environ.pop(ADDRESS, None)
        microseconds = os.environ.pop(WATCHDOG, "")
        meant_for = os.environ.pop(WATCHDOG_FOR, "") or str(os.getpid())
        interval = None
        if meant_for == str(os.getpid()) and microseconds.isdecimal() and int(microseconds):
            # Half the limit, as sd_watchdog_enabled(3) recommends.
            interval = int(microseconds) / 2_000_000
        return cls(address, interval)

    def ready(self, status: str = "") -> None:
        """READY=1: started, or reloaded; with a status line if there is something to say."""
        self._tell("READY=1", *([_status(status)] if status else []))

    def reloading(self) -> None:
        """RELOADING=1, with the time that Type=notify-reload wants."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self) -> None:
        """STOPPING=1."""
        self._tell("STOPPING=1")

    def status(self, text: str) -> None:
        """STATUS=: one line for `systemctl status`."""
        self._tell(_status(text))

    def watchdog(self) -> None:
        """WATCHDOG=1: still alive."""
        self._tell("WATCHDOG=1")

    def watchdog_interval(self) -> float | None:
        """Return how often, in seconds, the watchdog wants to be told, or None."""
        return self._watchdog

    def _tell(self, *lines: str) -> None:
        if self._address is None:
            return
        message = "\n".join(lines).encode(errors="replace")
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel,
        ):
            channel.settimeout(PATIENCE)
            channel.sendto(message, self._address)


def _status(text: str) -> str:
    return f"STATUS={' '.join(text.split())}"
