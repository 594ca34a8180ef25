"""The CSR path: answers without end, in size or in time; each run is a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.hostile import deeds
from tests.hostile.csrpath import unchanged
from tests.hostile.floods import LARGE, MEMORY, SLOW, sized
from tests.hostile.proxy import Purpose

if TYPE_CHECKING:
    from tests.hostile.csrpath import AskingNode

pytestmark = pytest.mark.servers

REFUSED, LATER = 1, 75
TOO_LONG = "answer has more than 4194304 bytes"
OBJECTS = b'{"a": [' + b"{}," * 10**7 + b"{}]}"
SAID: dict[str, tuple[int, str]] = {
    "1 GB": (REFUSED, TOO_LONG),
    "1 GB in chunks": (REFUSED, TOO_LONG),
    "1 GB with 401": (REFUSED, TOO_LONG),
    "1 GB with a redirect": (REFUSED, TOO_LONG),
    "a gzip bomb of 1 GB": (REFUSED, TOO_LONG),
    "a header of 1 MB": (LATER, "does not answer"),
    "10,000 headers": (LATER, "does not answer"),
    "no HTTP": (LATER, "does not answer"),
}
"""How certrotd ends, and what it says."""
DRIPS = (
    "no answer", "a head that drips", "a body that drips", "chunks that drip",
    "interim answers without end", "trailers without end",
)  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_an_answer_too_large_is_cut_off(asking: AskingNode, name: str) -> None:
    code, message = SAID[name]
    with unchanged(asking):
        asking.proxy.deeds[Purpose.LOOK] = LARGE[name]
        outcome = asking.renew_apart()
        assert outcome.code == code, outcome.said
        assert message in outcome.said
        assert "defect" not in outcome.said
        assert outcome.memory < MEMORY


def test_many_small_things_take_no_more_memory(asking: AskingNode) -> None:
    head = sized(len(OBJECTS))
    with unchanged(asking):
        asking.proxy.deeds[Purpose.SUBMIT] = deeds.endless(head, [OBJECTS])
        outcome = asking.renew_apart()
        assert outcome.code == REFUSED
        assert TOO_LONG in outcome.said
        assert outcome.memory < MEMORY


@pytest.mark.parametrize("name", DRIPS)
def test_an_answer_too_slow_is_given_up(asking: AskingNode, name: str) -> None:
    with unchanged(asking):
        asking.write(connect_timeout="500ms", read_timeout="500ms")
        asking.proxy.deeds[Purpose.SUBMIT] = SLOW[name]
        outcome = asking.renew_apart()
        assert outcome.code == LATER, outcome.said
        assert outcome.memory < MEMORY
        assert 1 <= asking.proxy.count(Purpose.SUBMIT) <= 2


def test_so_is_what_comes_before_the_request(asking: AskingNode) -> None:
    asking.write(purposes=["serving"])
    before = asking.files()
    asking.proxy.deeds[Purpose.NODE] = SLOW["headers that drip"]
    assert asking.renew_apart().code == LATER
    assert asking.files() == before
