"""What is presented to who asks: the fake, and a real TLS server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.handshakes import TlsHandshakes
from certrotd.core.errors import TransientError
from certrotd.core.model.kubelets import KubeletEndpoint
from tests.adapters.listeners import Listener, TlsServer, lab_of_today, put
from tests.factories import make_spec
from tests.fakes.cluster import FakeHandshakes
from tests.testbed.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from certrotd.ports.kubelets import Handshakes


@dataclass(frozen=True)
class Case:
    """Who asks, a kubelet that serves, one that does not, and what the first presents."""

    asking: Handshakes
    there: KubeletEndpoint
    away: KubeletEndpoint
    fingerprint: str


@pytest.fixture(params=["fake", "tls"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    pair = put(lab_of_today().issue(make_spec(tmp_path)))
    away = KubeletEndpoint(node="away", address="127.0.0.1", port=free_port())
    with Listener(TlsServer(pair)) as listener:
        host, _, port = listener.address.rpartition(":")
        there = KubeletEndpoint(node="there", address=host, port=int(port))
        asking: Handshakes = TlsHandshakes()
        if request.param == "fake":
            asking = FakeHandshakes({"there": pair.leaf})
        yield Case(asking, there, away, pair.leaf.fingerprint)


def test_what_is_presented_is_read(case: Case) -> None:
    assert case.asking.leaf(case.there).fingerprint == case.fingerprint


def test_who_does_not_answer_can_answer_later(case: Case) -> None:
    with pytest.raises(TransientError):
        case.asking.leaf(case.away)
