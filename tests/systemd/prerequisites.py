"""What a test needs of the machine: looked for, installed if it can be, else named."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path


def unavailable() -> str | None:
    """Say why no container can be booted here, after an attempt to install what is missing."""
    if os.geteuid() != 0:
        return "a systemd container needs root"
    if not may_mount():
        return "a systemd container needs CAP_SYS_ADMIN, which this root does not have"
    needed = ("systemd-nspawn", "systemctl", "dbus-daemon", "nsenter", "setpriv")
    if all(shutil.which(each) for each in needed):
        return None
    return install("systemd", "systemd-container", "dbus", "util-linux")


def lacking(program: str, package: str) -> str | None:
    """Say why there is no such program, after an attempt to install its package."""
    if shutil.which(program):
        return None
    if os.geteuid() != 0:
        return f"install {package}: {program} is not here"
    return install(package)


def install(*packages: str) -> str | None:
    """Install Debian packages; say what stands in the way."""
    advice = f"install {', '.join(packages)}"
    if not shutil.which("apt-get"):
        return f"{advice}; there is no apt-get here to do it"
    steps = (
        ["apt-get", "update"],
        ["apt-get", "install", "--yes", "--no-install-recommends", *packages],
    )
    for step in steps:
        done = subprocess.run(
            [*step, "-qq", "-o", "DPkg::Lock::Timeout=300"],
            env=dict(os.environ, DEBIAN_FRONTEND="noninteractive"),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            return f"{advice}; {step[0]} {step[1]} did not: {last}"
    return None


def may_mount() -> bool:
    """Whether this process has CAP_SYS_ADMIN, which root in a container often lacks."""
    status = Path("/proc/self/status").read_text()
    effective = int(status.partition("CapEff:")[2].split()[0], 16)
    return bool(effective >> 21 & 1)  # CAP_SYS_ADMIN
