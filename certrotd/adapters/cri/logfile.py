"""The end of a container's log, for the message about its failure."""

from __future__ import annotations

import os
import re
import stat

LINES, BYTES = 10, 8192
"""How much is shown at most."""
_PREFIX = re.compile(r"^\S+ (?:stdout|stderr) \S+ ", re.ASCII)
"""What stands before each line in the kubelet's format."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def printable(text: str) -> str:
    """Make somebody else's text fit for a message: one line, and without private keys."""
    if "PRIVATE KEY" in text:
        return "(not shown: there is a private key in it)"
    return _CONTROL.sub(" ", text).strip()


def last_words(path: str) -> str:
    """Return the last lines of the log at `path`, to be put behind a message.

    Empty if there are none to be had: it is an extra, and the directory of logs may not be mounted.
    """
    try:
        text = _tail(path)
    except OSError:
        return ""
    if "PRIVATE KEY" in text:
        return f"\nIts log, {path}, is not shown: there is a private key in it"
    lines = [printable(_PREFIX.sub("", line)) for line in text.splitlines()[-LINES:]]
    return "\n".join(("\nThe last lines of its log:", *lines)) if lines else ""


def _tail(path: str) -> str:
    # Not blocking: what is there instead of a log could be a pipe.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return ""
        data = os.pread(fd, BYTES, max(0, status.st_size - BYTES))
    finally:
        os.close(fd)
    if status.st_size > BYTES:
        data = data.partition(b"\n")[2]  # the first line is cut off
    return data.decode(errors="replace")
