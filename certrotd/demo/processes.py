"""Starting, restarting and ending the stand-ins: `python -m certrotd.demo.processes FOLDER ...`.

This is the demo's service manager: `restart NAME` is what the configuration names under
`activation: exec`. Like `systemctl restart` of a simple service it reports success as soon as the
process runs; whether that process is content with its certificate is not its business.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from certrotd.demo.server import note

if TYPE_CHECKING:
    from collections.abc import Mapping

ITSELF = "certrotd.demo.processes"
SERVER = "certrotd.demo.server"
MERCY = 5.0
"""Seconds between SIGTERM and SIGKILL."""


def start(folder: Path, name: str) -> None:
    """Start a server that outlives its starter."""
    with (folder / "run" / f"{name}.log").open("ab") as log:
        subprocess.Popen(  # noqa: S603  # our own interpreter and module
            [sys.executable, "-m", SERVER, str(folder), name],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env={},
            start_new_session=True,
        )


def restart(folder: Path, name: str) -> None:
    """End a server if it runs, and start it anew."""
    note(folder, name, "stopping")
    end({pid: each for pid, each in running(folder).items() if each == name})
    start(folder, name)


def running(folder: Path, module: str = SERVER) -> dict[int, str]:
    """Find this folder's processes by their command lines: a pidfile may be stale.

    Returns the argument after the folder by process id.
    """
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):  # it ended just now
                line = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                if line[1:4] == ["-m", module, str(folder)]:
                    found[int(entry.name)] = line[4]
    return found


def stop(folder: Path) -> None:
    """End everything that runs in a folder, first what could start more, and remove it."""
    end(running(folder, ITSELF))
    end(running(folder))
    shutil.rmtree(folder)


def end(processes: Mapping[int, str]) -> None:
    """End processes and wait for it: SIGTERM, and SIGKILL for who does not listen."""
    with contextlib.ExitStack() as stack:
        opened = []
        for pid in processes:
            with contextlib.suppress(ProcessLookupError):
                descriptor = os.pidfd_open(pid)
                stack.callback(os.close, descriptor)
                signal.pidfd_send_signal(descriptor, signal.SIGTERM)
                opened.append(descriptor)
        for descriptor in opened:
            # Readable when the process has ended, whether or not anybody has waited for it.
            if not select.select([descriptor], [], [], MERCY)[0]:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                select.select([descriptor], [], [], MERCY)


def main(folder: Path, order: str, *names: str) -> int:
    """Obey `start`, `restart NAME...` or `stop`; the last one removes the folder, too."""
    if not (folder / "servers.json").is_file():
        print(f"{folder} is no folder of `certrotd demo`", file=sys.stderr)  # noqa: T201
        return 1
    if order == "start":
        for name in json.loads((folder / "servers.json").read_text()):
            start(folder, name)
    elif order == "restart":
        for name in names:
            restart(folder, name)
    elif order == "stop":
        stop(folder)
    else:
        print("start, restart NAME... or stop", file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
