"""File systems of their own on loop devices, whose power can be cut. Needs root."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.systemd.prerequisites import lacking

if TYPE_CHECKING:
    from collections.abc import Iterator

MAKE = {
    "ext4": (32 << 20, ("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,nodiscard")),
    "xfs": (300 << 20, ("mkfs.xfs", "-q", "-f", "-K")),
}
"""The least size of each file system in bytes, and how it is made."""
KINDS = tuple(MAKE)
PACKAGES = {"ext4": "e2fsprogs", "xfs": "xfsprogs"}
MEMORY = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
"""A file system in memory, if there is one: who flushes some thousand times goes there."""
OPTIONS = {"ext4": (), "xfs": ("-o", "nouuid")}
SHUTDOWN = 0x8004587D
"""EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN are the same number, and so are their flags."""
LOG_KEPT, LOG_LOST = 1, 2


class NoDisk(Exception):
    """There is no disk to be had whose power could be cut."""


class Disk:
    """An image with a file system of a `kind`, mounted and unmounted at will."""

    def __init__(self, image: Path, mountpoint: Path, kind: str) -> None:
        self.image = image
        self.mountpoint = mountpoint
        self.kind = kind
        self._device = ""

    def format(self) -> None:
        """Make the file system anew.

        Raises:
            NoDisk: there is no program to do it with.
        """
        size, argv = MAKE[self.kind]
        if why := lacking(argv[0], PACKAGES[self.kind]):
            raise NoDisk(why)
        with self.image.open("wb") as file:
            file.truncate(size)
        run(*argv, str(self.image))
        self.mountpoint.mkdir(exist_ok=True)

    def mount(self) -> None:
        # A new device each time: the old superblock may live on for a moment, shut down. xfs must
        # not mind that another one has its name.
        self._device = patiently("losetup", "--find", "--show", str(self.image))
        try:
            run("mount", "-t", self.kind, *OPTIONS[self.kind], self._device, str(self.mountpoint))
        except subprocess.CalledProcessError:
            run("losetup", "--detach", self._device)
            raise

    def unmount(self) -> None:
        patiently("umount", str(self.mountpoint))
        run("losetup", "--detach", self._device)

    def flush(self) -> None:
        run("sync", "-f", str(self.mountpoint))

    def cut(self, flags: int) -> None:
        fd = os.open(self.mountpoint, os.O_RDONLY)
        fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", flags))


def run(*argv: str) -> str:
    """Run a program and return what it says.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    try:
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()
    except subprocess.CalledProcessError as e:
        e.add_note(e.stderr)
        raise


def patiently(*argv: str) -> str:
    """Run what others may keep busy for a moment: looking at mounts, taking loop devices.

    Raises:
        subprocess.CalledProcessError: it failed for five seconds.
    """
    deadline = time.monotonic() + 5
    while True:
        try:
            return run(*argv)
        except subprocess.CalledProcessError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@contextmanager
def mounted(disk: Disk) -> Iterator[None]:
    """Make a disk for a while.

    Raises:
        NoDisk: that cannot be done here.
    """
    with made(disk):
        disk.format()
        disk.mount()
    try:
        yield
    finally:
        disk.unmount()


@contextmanager
def made(disk: Disk) -> Iterator[None]:
    """Translate what keeps a disk from being made.

    Raises:
        NoDisk: that cannot be done here.
    """
    try:
        yield
    except subprocess.CalledProcessError as e:
        raise NoDisk(f"no loop device or no {disk.kind} here: {e}: {e.stderr}") from e
    except OSError as e:
        raise NoDisk(f"no loop device or no {disk.kind} here: {e}") from e
