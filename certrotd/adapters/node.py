"""This machine, looked at: files, addresses, systemd units and their processes."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
import subprocess
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import pairwise
from pathlib import Path

from certrotd.core.model import FileFacts, UnitFacts

LARGEST = 4 << 20
"""Bytes; nothing that is read here is larger."""
_TIMEOUT = 20
_UNIT_PROPERTIES = "LoadState,FragmentPath,DropInPaths,MainPID"


class LocalNode:
    """The port `Node` for the machine this process runs on."""

    def name(self) -> str:
        """Return the host name."""
        return os.uname().nodename

    def addresses(self) -> tuple[IPv4Address | IPv6Address, ...]:
        """Return the addresses of its interfaces, without loopback and link-local ones."""
        found = dict.fromkeys((*_version_4(), *_version_6()))
        return tuple(each for each in found if not each.is_loopback and not each.is_link_local)

    def read(self, path: str) -> bytes:
        """Return the content of a plain file.

        Raises:
            OSError: it cannot be read, is not a plain file, or is larger than 4 MiB.
        """
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.EINVAL, "is not a plain file", path)
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
        return content

    def entries(self, path: str) -> tuple[str, ...]:
        """Return the names in a directory that are no directories, sorted.

        Raises:
            OSError: it cannot be read.
        """
        with os.scandir(path) as found:
            return tuple(sorted(each.name for each in found if not each.is_dir()))

    def facts(self, path: str) -> FileFacts:
        """Return mode and owner of what a path leads to.

        Raises:
            OSError: it cannot be looked at.
        """
        status = Path(path).stat()
        return FileFacts(
            mode=stat.S_IMODE(status.st_mode),
            owner=_user(status.st_uid),
            group=_group(status.st_gid),
        )

    def services(self) -> tuple[str, ...]:
        """Return the names of the services that systemd has loaded.

        Raises:
            OSError: systemd cannot be asked.
        """
        listed = _systemctl("list-units", "--type=service", "--all", "--plain", "--no-legend")
        return tuple(line.split()[0] for line in listed.splitlines() if line.strip())

    def unit(self, name: str) -> UnitFacts:
        """Ask systemd about a unit; one it does not know has the load state `not-found`.

        Raises:
            OSError: systemd cannot be asked.
        """
        shown = _systemctl("show", "--property", _UNIT_PROPERTIES, "--", name)
        properties = dict(line.partition("=")[::2] for line in shown.splitlines())
        loaded = properties.get("LoadState", "") == "loaded"
        pid = properties.get("MainPID", "0")
        return UnitFacts(
            name=name,
            load_state=properties.get("LoadState", ""),
            file=properties.get("FragmentPath", ""),
            drop_ins=tuple(properties.get("DropInPaths", "").split()),
            text=_systemctl("cat", "--", name) if loaded else "",
            arguments=_of_process(pid, "cmdline"),
            environment=_of_process(pid, "environ"),
        )


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a named pipe would wait for its writer


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _version_4() -> list[IPv4Address | IPv6Address]:
    """Read the kernel's table of routes: a /32 route of type LOCAL is an address of ours."""
    try:
        lines = Path("/proc/net/fib_trie").read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return []
    return [
        ip_address(before.split()[-1])
        for before, line in pairwise(lines)
        if line.split() == ["/32", "host", "LOCAL"]
    ]


def _version_6() -> list[IPv4Address | IPv6Address]:
    try:
        lines = Path("/proc/net/if_inet6").read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return []  # a kernel without IPv6
    return [IPv6Address(int(line.split()[0], 16)) for line in lines]


def _systemctl(*arguments: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603  # a list, no shell
            ("systemctl", *arguments),  # noqa: S607  # from the PATH below
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT,
            env={"PATH": os.defpath + ":/usr/sbin:/sbin", "LC_ALL": "C", "SYSTEMD_PAGER": ""},
        )
    except FileNotFoundError:
        raise OSError(errno.ENOENT, "there is no systemctl on this machine") from None
    except subprocess.TimeoutExpired:
        raise OSError(errno.ETIMEDOUT, f"systemctl did not answer in {_TIMEOUT} s") from None
    if done.returncode != 0:
        raise OSError(errno.EIO, done.stderr.strip() or f"systemctl exits {done.returncode}")
    return done.stdout


def _of_process(pid: str, file: str) -> tuple[str, ...]:
    """Return a list of a process that /proc ends with NUL each; nothing if it is gone."""
    if pid in ("", "0"):
        return ()
    try:
        content = Path(f"/proc/{pid}/{file}").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ()
    return tuple(each.decode(errors="replace") for each in content.rstrip(b"\0").split(b"\0"))
