"""Runs one server in the foreground: `python -m tests.testbed.supervise NAME DIRECTORY`.

Reads the argv from `DIRECTORY/NAME.json`, logs to `DIRECTORY/NAME.log`, writes the files that
restartctl.py names. SIGHUP: stop the server, wait, start it. SIGTERM or SIGINT: stop it and end.
A server that ends by itself is started again after a second, as systemd or a kubelet would.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.testbed.processes import ServerProcess
from tests.testbed.restartctl import pidfile, start_count, supervisor_pidfile

if TYPE_CHECKING:
    from collections.abc import Sequence

_BACK_OFF = 1.0
_STOP = frozenset({signal.SIGTERM, signal.SIGINT})
_AWAITED = _STOP | {signal.SIGHUP, signal.SIGCHLD}


def argv_file(directory: Path, name: str) -> Path:
    """Where the supervisor finds what to run."""
    return directory / f"{name}.json"


def supervise(name: str, directory: Path) -> None:
    """Keep it running until told to stop."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    argv = json.loads(argv_file(directory, name).read_text())
    server = ServerProcess(name, argv, directory=directory)
    starts = 0
    try:
        while True:
            server.start()
            starts += 1
            _put(pidfile(directory, name), server.pid)
            _put(start_count(directory, name), starts)
            _put(supervisor_pidfile(directory, name), os.getpid())
            why = _next_event(server)
            server.stop()
            if why in _STOP:
                return
            if why is signal.SIGCHLD and signal.sigtimedwait(_STOP, _BACK_OFF) is not None:
                return
    finally:
        server.stop()
        for file in (supervisor_pidfile, pidfile, start_count):
            file(directory, name).unlink(missing_ok=True)


def _next_event(server: ServerProcess) -> signal.Signals:
    while True:
        number = signal.Signals(signal.sigwait(_AWAITED))
        if number is not signal.SIGCHLD or not server.running:
            return number


def _put(path: Path, number: int) -> None:
    staged = path.with_name(f".{path.name}")
    staged.write_text(f"{number}\n")
    staged.rename(path)


def main(arguments: Sequence[str]) -> int:
    """Command line."""
    name, directory = arguments
    supervise(name, Path(directory))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
