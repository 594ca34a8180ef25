"""Run a command for a bounded time: python measured.py SECONDS OUTPUT COMMAND...

Prints its exit code (`timeout` has 124) and the most memory it held, in MiB. A process of its own,
because Linux counts the memory of whoever starts a process to what that process held.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

_KIBIBYTES = 1024
_TIMED_OUT = 124


def main() -> None:
    seconds, output, *command = sys.argv[1:]
    with Path(output).open("wb") as file:
        try:
            code = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=float(seconds),
            ).returncode
        except subprocess.TimeoutExpired:
            code = _TIMED_OUT
    print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // _KIBIBYTES)


if __name__ == "__main__":
    main()
