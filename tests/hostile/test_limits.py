"""Answers without end, in size or in time: bounded memory, bounded time, nothing published.

Each rotation is a process of its own, whose memory is measured and which is killed after a
minute: a deadline that does not hold shows as exit code 124.
"""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from tests.hostile import deeds
from tests.hostile.floods import LARGE, MEMORY, SLOW
from tests.hostile.node import unchanged
from tests.hostile.proxy import HOST, Purpose

if TYPE_CHECKING:
    from tests.hostile.node import Node

pytestmark = pytest.mark.servers

REFUSED, LATER = 1, 75
SAID: dict[str, tuple[int, str]] = {
    "1 GB where 100 B were named": (REFUSED, "there is no data"),
    "an unknown encoding": (REFUSED, "no JSON object"),
    "one that is not what it says": (REFUSED, "cannot be read"),
    "a header of 1 MB": (REFUSED, "is no HTTP"),
    "10,000 headers": (REFUSED, "is no HTTP"),
    "99 headers of 60 KB": (LATER, "broke off"),
    "a status line of 1 MB": (REFUSED, ""),
    "no HTTP": (REFUSED, "is no HTTP"),
}
"""How certrotd ends, and what it says; all others are too long."""


@pytest.mark.parametrize("name", LARGE)
def test_an_answer_too_large_is_cut_off(node: Node, name: str) -> None:
    code, message = SAID.get(name, (REFUSED, "longer than 1048576 B"))
    with unchanged(node):
        node.proxy.deeds[Purpose.SIGN] = LARGE[name]
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
        many.proxy.deeds[Purpose.SIGN] = LARGE["a gzip bomb of 1 GB"]
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
