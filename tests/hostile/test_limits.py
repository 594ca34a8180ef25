"""Answers without end, in size or in time: bounded memory, bounded time, nothing published.

Each rotation is a process of its own, whose memory is measured and which is killed after a
minute: a deadline that does not hold shows as exit code 124.
"""

from __future__ import annotations

import gzip
import itertools
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from tests.hostile import deeds
from tests.hostile.node import unchanged
from tests.hostile.proxy import HOST, Purpose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.hostile.node import Node
    from tests.hostile.proxy import Deed

pytestmark = pytest.mark.servers

REFUSED, LATER = 1, 75
MEMORY = 200
"""MiB; an honest run takes about 60."""
OK = b"HTTP/1.1 200 OK\r\n"
JSON = OK + b"Content-Type: application/json\r\n"
GIGABYTE = deeds.GIGABYTE
ALL = [deeds.PIECE] * (GIGABYTE // len(deeds.PIECE))
CHUNK = b"%x\r\n%s\r\n" % (len(deeds.PIECE), deeds.PIECE)


def sized(length: int) -> bytes:
    return JSON + b"Content-Length: %d\r\n\r\n" % length


def packed(body: bytes, encoding: str) -> Deed:
    return deeds.status(200, body, Content_Encoding=encoding)


def for_ever(piece: bytes) -> Iterator[bytes]:
    return itertools.repeat(piece)


CHUNKED = JSON + b"Transfer-Encoding: chunked\r\n\r\n"
BOMB = deeds.gzip_bomb()
LARGE: dict[str, tuple[Deed, int, str]] = {
    "1 GB": (deeds.endless(sized(GIGABYTE), ALL), REFUSED, "longer than 1048576 B"),
    "1 GB and no length": (deeds.endless(JSON + b"\r\n", ALL), REFUSED, "longer than"),
    "1 GB where 100 B were named": (deeds.endless(sized(100), ALL), REFUSED, "there is no data"),
    "a length of 10 EB": (deeds.endless(sized(10**19), ALL), REFUSED, "longer than"),
    "1 GB in chunks": (deeds.endless(CHUNKED, [CHUNK] * 1000), REFUSED, "longer than"),
    "1 GB in one chunk": (deeds.endless(CHUNKED + b"3b9aca00\r\n", ALL), REFUSED, "longer than"),
    "1 GB with 400": (
        deeds.endless(sized(GIGABYTE).replace(b"200 OK", b"400 Bad Request"), ALL),
        REFUSED,
        "longer than",
    ),
    "1 GB with 502": (
        deeds.endless(sized(GIGABYTE).replace(b"200 OK", b"502 Bad Gateway"), ALL),
        REFUSED,
        "longer than",
    ),
    "1 GB with a redirect": (
        deeds.endless(
            sized(GIGABYTE).replace(b"200 OK\r\n", b"307 Temporary\r\nLocation: https://a/\r\n"),
            ALL,
        ),
        REFUSED,
        "longer than",
    ),
    "a gzip bomb of 1 GB": (packed(BOMB, "gzip"), REFUSED, "longer than"),
    "a gzip bomb in a gzip bomb": (packed(gzip.compress(BOMB), "gzip, gzip"), REFUSED, "longer"),
    "an unknown encoding": (packed(BOMB[:1000], "zzip"), REFUSED, "no JSON object"),
    "one that is not what it says": (packed(b"{}", "gzip"), REFUSED, "cannot be read"),
    "a header of 1 MB": (
        deeds.raw(OK + b"X: " + b"x" * 10**6 + b"\r\n\r\n"),
        REFUSED,
        "is no HTTP",
    ),
    "10,000 headers": (
        deeds.raw(OK + b"X-Header: 1\r\n" * 10_000 + b"\r\n"),
        REFUSED,
        "is no HTTP",
    ),
    "99 headers of 60 KB": (
        deeds.raw(OK + b"".join(b"X%d: %s\r\n" % (n, b"x" * 60_000) for n in range(99)) + b"\r\n"),
        LATER,
        "broke off",
    ),
    "a status line of 1 MB": (
        deeds.raw(b"HTTP/1.1 200 " + b"O" * 10**6 + b"\r\n\r\n"),
        REFUSED,
        "",
    ),
    "no HTTP": (deeds.raw(b"SSH-2.0-OpenSSH_9.6\r\n"), REFUSED, "is no HTTP"),
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


@pytest.mark.parametrize("name", LARGE)
def test_an_answer_too_large_is_cut_off(node: Node, name: str) -> None:
    deed, code, message = LARGE[name]
    with unchanged(node):
        node.proxy.deeds[Purpose.SIGN] = deed
        outcome = node.rotate_apart()
        assert outcome.code == code
        assert message in outcome.said
        assert node.proxy.address in outcome.said
        assert "defect" not in outcome.said
        assert outcome.memory < MEMORY
        assert code == LATER or node.proxy.count(Purpose.SIGN) == 1


@pytest.mark.parametrize("name", SLOW)
def test_an_answer_too_slow_is_given_up_and_not_asked_for_again(node: Node, name: str) -> None:
    with unchanged(node):
        node.proxy.deeds[Purpose.SIGN] = SLOW[name]
        outcome = node.rotate_apart()
        assert outcome.code == LATER
        assert "it may have been signed nevertheless" in outcome.said
        assert node.proxy.count(Purpose.SIGN) == 1
        assert outcome.memory < MEMORY


@pytest.mark.parametrize("purpose", [Purpose.HEALTH, Purpose.LOGIN, Purpose.LOOKUP])
@pytest.mark.parametrize("name", ["headers that drip", "interim answers without end"])
def test_so_is_what_comes_before_the_signature(node: Node, purpose: Purpose, name: str) -> None:
    with unchanged(node):
        node.proxy.deeds |= {
            Purpose.SIGN: deeds.status(403), purpose: SLOW[name],
        }  # fmt: skip
        assert node.rotate_apart().code == LATER


def test_eight_endless_answers_at_once_take_no_more_memory(many: Node) -> None:
    with unchanged(many):
        many.proxy.deeds[Purpose.SIGN] = LARGE["a gzip bomb of 1 GB"][0]
        outcome = many.rotate_apart()
        assert outcome.code == REFUSED
        assert outcome.memory < MEMORY


def test_a_token_that_is_given_back_to_a_silent_server_does_not_keep_certrotd(node: Node) -> None:
    node.proxy.deeds[Purpose.REVOKE] = SLOW["interim answers without end"]
    assert node.rotate_apart().code == 0


@pytest.mark.parametrize("piece", [b"", b"\x16\x03\x03\x40\x00"])
def test_a_handshake_that_never_ends_is_given_up(node: Node, piece: bytes) -> None:
    """A listener that takes connections and says nothing, or begins a record and drips."""
    ending = threading.Event()
    taken: list[socket.socket] = []

    def accept(listener: socket.socket) -> None:
        while not ending.is_set():
            channel, _ = listener.accept()
            taken.append(channel)
            channel.sendall(piece)

    with unchanged(node), socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=accept, args=(listener,))
        thread.start()
        host, port = listener.getsockname()
        with node.speaking_to(f"https://{host}:{port}"):
            assert node.rotate_apart().code == LATER
        ending.set()
        socket.create_connection((host, port)).close()
        thread.join()
        for each in taken:
            each.close()
