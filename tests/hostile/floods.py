"""Answers without end, in size or in time."""

from __future__ import annotations

import gzip
import itertools
from typing import TYPE_CHECKING

from tests.hostile import deeds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.hostile.proxy import Deed

MEMORY = 200
"""MiB that certrotd may hold; an honest run takes about 60."""
OK = b"HTTP/1.1 200 OK\r\n"
JSON = OK + b"Content-Type: application/json\r\n"
GIGABYTE = deeds.GIGABYTE
ALL = [deeds.PIECE] * (GIGABYTE // len(deeds.PIECE))
CHUNK = b"%x\r\n%s\r\n" % (len(deeds.PIECE), deeds.PIECE)


def sized(length: int, status: bytes = b"200 OK") -> bytes:
    """The head of an answer of this length."""
    return JSON.replace(b"200 OK", status) + b"Content-Length: %d\r\n\r\n" % length


def packed(body: bytes, encoding: str) -> Deed:
    """Answer with a body of this encoding."""
    return deeds.status(200, body, Content_Encoding=encoding)


def for_ever(piece: bytes) -> Iterator[bytes]:
    """Never end."""
    return itertools.repeat(piece)


CHUNKED = JSON + b"Transfer-Encoding: chunked\r\n\r\n"
MOVED = b"307 Temporary\r\nLocation: https://a/"
BOMB = deeds.gzip_bomb()
LARGE: dict[str, Deed] = {
    "1 GB": deeds.endless(sized(GIGABYTE), ALL),
    "1 GB and no length": deeds.endless(JSON + b"\r\n", ALL),
    "1 GB where 100 B were named": deeds.endless(sized(100), ALL),
    "a length of 10 EB": deeds.endless(sized(10**19), ALL),
    "1 GB in chunks": deeds.endless(CHUNKED, [CHUNK] * 1000),
    "1 GB in one chunk": deeds.endless(CHUNKED + b"3b9aca00\r\n", ALL),
    "1 GB with 400": deeds.endless(sized(GIGABYTE, b"400 Bad Request"), ALL),
    "1 GB with 401": deeds.endless(sized(GIGABYTE, b"401 Unauthorized"), ALL),
    "1 GB with 502": deeds.endless(sized(GIGABYTE, b"502 Bad Gateway"), ALL),
    "1 GB with a redirect": deeds.endless(sized(GIGABYTE, MOVED), ALL),
    "a gzip bomb of 1 GB": packed(BOMB, "gzip"),
    "a gzip bomb in a gzip bomb": packed(gzip.compress(BOMB), "gzip, gzip"),
    "an unknown encoding": packed(BOMB[:1000], "zzip"),
    "one that is not what it says": packed(b"{}", "gzip"),
    "a header of 1 MB": deeds.raw(OK + b"X: " + b"x" * 10**6 + b"\r\n\r\n"),
    "10,000 headers": deeds.raw(OK + b"X-Header: 1\r\n" * 10_000 + b"\r\n"),
    "99 headers of 60 KB": deeds.raw(
        OK + b"".join(b"X%d: %s\r\n" % (n, b"x" * 60_000) for n in range(99)) + b"\r\n"
    ),
    "a status line of 1 MB": deeds.raw(b"HTTP/1.1 200 " + b"O" * 10**6 + b"\r\n\r\n"),
    "no HTTP": deeds.raw(b"SSH-2.0-OpenSSH_9.6\r\n"),
}
SLOW: dict[str, Deed] = {
    "no answer": deeds.delay(9),
    "a head that drips": deeds.endless(OK + b"X: ", for_ever(b"x"), 1),
    "headers that drip": deeds.endless(OK, for_ever(b"X: y\r\n"), 0.2),
    "a body that drips": deeds.endless(sized(1000), for_ever(b" "), 1),
    "chunks that drip": deeds.endless(CHUNKED, for_ever(b"1\r\n \r\n"), 0.2),
    "the size of a chunk that drips": deeds.endless(CHUNKED, for_ever(b"0"), 1),
    "interim answers without end": deeds.endless(b"", for_ever(b"HTTP/1.1 100 Continue\r\n\r\n")),
    "interim answers that drip": deeds.endless(
        b"", for_ever(b"HTTP/1.1 100 Continue\r\n\r\n"), 0.2
    ),
    "trailers without end": deeds.endless(CHUNKED + b"2\r\n{}\r\n0\r\n", for_ever(b"X: y\r\n")),
}
