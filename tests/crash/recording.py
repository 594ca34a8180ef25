"""A disk that writes down all it is told: every write and every flush, in order.

`python -m tests.crash.recording IMAGE LOG FILE` mounts a file system of one file over FILE. What is
written to it goes to IMAGE, and to LOG; a loop device on top of it is a disk whose power can be
cut afterwards, at any moment of its past. It speaks the kernel's own protocol
(include/uapi/linux/fuse.h) and needs root, /dev/fuse and the standard library. It ends when FILE
is unmounted.
"""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_IN, _OUT = struct.Struct("<IIQQIIIHH"), struct.Struct("<IiQ")
_INIT = struct.Struct("<IIIIHHIIHHI28x")
_ATTRIBUTES = struct.Struct("<QIIQQQQQQIIIIIIIIII")
_TRANSFER = struct.Struct("<QQIIQII")
"""fh, offset, size and flags of READ and WRITE."""
_RECORD = struct.Struct("<QI")
FLUSHED = (1 << 64) - 1
"""The offset that stands for a flush."""
LARGEST = 1 << 20
FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, RELEASE, FSYNC, FLUSH, INIT = (
    2, 3, 4, 14, 15, 16, 18, 20, 25, 26,
)  # fmt: skip
INTERRUPT, BATCH_FORGET = 36, 42


@dataclass(frozen=True, slots=True)
class Record:
    """A write, or a flush where `data` is None; `end` is where it ends in the log."""

    offset: int
    data: bytes | None
    end: int


def read(log: Path) -> tuple[Record, ...]:
    """Read what was recorded, in order."""
    content, at, found = log.read_bytes(), 0, []
    while at < len(content):
        offset, size = _RECORD.unpack_from(content, at)
        at += _RECORD.size + size
        data = None if offset == FLUSHED else content[at - size : at]
        found.append(Record(offset, data, at))
    return tuple(found)


@contextmanager
def recorded(image: Path, log: Path, file: Path) -> Iterator[None]:
    """Let `file` be the image, recorded.

    Raises:
        OSError: there is no FUSE here.
    """
    file.touch()
    argv = [sys.executable, "-m", "tests.crash.recording", str(image), str(log), str(file)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        if server.stdout.readline() != "mounted\n":
            raise OSError(errno.ENODEV, "no FUSE here")
        try:
            yield
        finally:
            # Lazily: a loop device that was detached may hold the file for a moment longer.
            subprocess.run(["umount", "--lazy", str(file)], check=False)
            try:
                server.wait(60)
            finally:
                server.kill()


class _Server:
    def __init__(self, image: str, log: str, device: int) -> None:
        self._image = os.open(image, os.O_RDWR)
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        self._device = device

    def serve(self) -> None:
        """Answer until the file is unmounted."""
        while True:
            try:
                request = os.read(self._device, LARGEST + 4096)
            except OSError as e:
                if e.errno == errno.ENODEV:
                    return
                if e.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                    continue  # the request was taken back
                raise
            _, opcode, unique, *_rest = _IN.unpack_from(request)
            if opcode in (FORGET, BATCH_FORGET, INTERRUPT):
                continue
            answer = self._answer(opcode, request[_IN.size :])
            error, body = (answer, b"") if isinstance(answer, int) else (0, answer)
            os.write(self._device, _OUT.pack(_OUT.size + len(body), -error, unique) + body)

    def _answer(self, opcode: int, body: bytes) -> bytes | int:
        """Do what is asked and return what to say: some bytes, or an errno."""
        known: dict[int, Callable[[bytes], bytes]] = {
            INIT: lambda _: _INIT.pack(7, 31, 0, 0, 0, 0, LARGEST, 1, 0, 0, 0),
            GETATTR: self._attributes,
            SETATTR: self._attributes,
            OPEN: lambda _: struct.pack("<QIi", 0, 0, 0),
            READ: self._read,
            WRITE: self._write,
            FSYNC: self._flush,
            FLUSH: lambda _: b"",  # close(2), which asks no disk for anything
            RELEASE: lambda _: b"",
        }
        return known[opcode](body) if opcode in known else errno.ENOSYS

    def _read(self, body: bytes) -> bytes:
        _, offset, size, *_rest = _TRANSFER.unpack_from(body)
        return os.pread(self._image, size, offset)

    def _flush(self, _: bytes) -> bytes:
        os.write(self._log, _RECORD.pack(FLUSHED, 0))
        return b""

    def _write(self, body: bytes) -> bytes:
        _, offset, size, *_rest = _TRANSFER.unpack_from(body)
        data = body[_TRANSFER.size : _TRANSFER.size + size]
        os.pwrite(self._image, data, offset)
        os.write(self._log, _RECORD.pack(offset, size) + data)
        return struct.pack("<II", size, 0)

    def _attributes(self, _: bytes) -> bytes:
        size = os.fstat(self._image).st_size
        return _ATTRIBUTES.pack(
            0, 0, 0, 1, size, size // 512, 0, 0, 0, 0, 0, 0, 0o100600, 1, 0, 0, 0, 4096, 0
        )


def main(image: str, log: str, file: str) -> None:
    """Serve."""
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=100600,user_id=0,group_id=0"
    subprocess.run(
        ["mount", "-i", "-t", "fuse", "-o", options, "recording", file],
        pass_fds=[device],
        check=True,
    )
    server = _Server(image, log, device)
    print("mounted", flush=True)
    server.serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
