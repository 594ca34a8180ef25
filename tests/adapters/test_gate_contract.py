"""What every Gate does, the fake one included."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.probes import HttpGate, TcpGate
from certrotd.adapters.processes import CommandGate
from certrotd.core.model import OutputKind
from tests.adapters.listeners import Listener, TlsServer, lab_of_today, put
from tests.factories import make_spec
from tests.fakes.gate import FakeGate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from certrotd.ports import Gate

LIMIT = timedelta(seconds=20)


@dataclass(frozen=True)
class Cases:
    """One kind of gate, open and closed."""

    open: Gate
    closed: Gate


@pytest.fixture(params=["fake", "tcp", "https", "command"])
def cases(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cases]:
    pair = put(lab_of_today().issue(make_spec(tmp_path)))
    ca = next(each.path for each in pair.spec.outputs if each.kind is OutputKind.CA)
    with contextlib.ExitStack() as stack:
        taken = stack.enter_context(socket.socket())
        taken.bind(("127.0.0.1", 0))  # nobody listens on it
        closed = f"127.0.0.1:{taken.getsockname()[1]}"
        address = stack.enter_context(Listener(TlsServer(pair))).address
        made = {
            "fake": Cases(FakeGate(), FakeGate(is_open=False)),
            "tcp": Cases(TcpGate(address), TcpGate(closed)),
            "https": Cases(HttpGate(f"https://{address}/", ca), HttpGate(f"https://{closed}/", ca)),
            "command": Cases(
                CommandGate(("/bin/true",), LIMIT), CommandGate(("/bin/false",), LIMIT)
            ),
        }
        yield made[request.param]


def test_an_open_gate_holds_each_time(cases: Cases) -> None:
    assert cases.open.check().holds
    assert cases.open.check().holds


def test_a_closed_gate_does_not_hold(cases: Cases) -> None:
    assert not cases.closed.check().holds


def test_a_gate_says_nothing_about_certificates(cases: Cases) -> None:
    for gate in (cases.open, cases.closed):
        evidence = gate.check()
        assert evidence.certificate is None
        assert evidence.served is None
        assert not evidence.stale


def test_the_detail_is_one_printable_line_for_a_person(cases: Cases) -> None:
    for gate in (cases.open, cases.closed):
        evidence = gate.check()
        assert evidence.source
        assert evidence.detail.isprintable()
