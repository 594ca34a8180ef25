"""Asks for a restart of a supervised server: `restartctl.py NAME DIRECTORY`.

Returns 0 when the new process runs (not: is ready), 1 if nobody supervises it or it took too long.
Standard library only, and no imports from the tests: it is run by path, by any Python.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

TIME_LIMIT = 60.0
_POLL_INTERVAL = 0.01


def pidfile(directory: Path, name: str) -> Path:
    """The server's own process id."""
    return directory / f"{name}.pid"


def supervisor_pidfile(directory: Path, name: str) -> Path:
    """The process id to which SIGHUP means restart."""
    return directory / f"{name}.supervisor.pid"


def start_count(directory: Path, name: str) -> Path:
    """How often the server has been started by the present supervisor."""
    return directory / f"{name}.starts"


def restart(directory: Path, name: str) -> None:
    """Ask, and wait until a newer process runs.

    Raises:
        OSError: nobody supervises it.
        TimeoutError: it did not happen within TIME_LIMIT.
    """
    supervisor = int(supervisor_pidfile(directory, name).read_text())
    count = start_count(directory, name)
    before = int(count.read_text())
    os.kill(supervisor, signal.SIGHUP)
    end = time.monotonic() + TIME_LIMIT
    while int(count.read_text()) <= before:
        if time.monotonic() > end:
            raise TimeoutError(f"{name} was not started again within {TIME_LIMIT:g} s")
        os.kill(supervisor, 0)
        time.sleep(_POLL_INTERVAL)


def main(arguments: list[str]) -> int:
    """Command line."""
    if len(arguments) != 2:
        print("usage: restartctl.py NAME DIRECTORY", file=sys.stderr)
        return 2
    name, directory = arguments
    try:
        restart(Path(directory), name)
    except (OSError, ValueError) as error:
        print(f"{name} cannot be restarted: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
