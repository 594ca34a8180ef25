"""What every Proof does, the fake one included."""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.probes import ClientProof, TlsProof
from certrotd.adapters.processes import PidfileStartedProof, UnitStartedProof, proc
from certrotd.core.model import OutputKind
from tests.adapters.listeners import Listener, TlsServer, expecting, lab_of_today, put
from tests.factories import make_spec
from tests.fakes.proof import FakeProof

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from certrotd.core.model import CertificateName, Expectation
    from certrotd.ports import Proof

    Expected = Mapping[CertificateName, Expectation]


@dataclass(frozen=True)
class Cases:
    """One kind of proof where all is well, and where there is nothing to look at.

    `shows_stale` says whether it can see that something else is in use.
    """

    proof: Proof
    expected: Expected
    outdated: Expected
    nowhere: Proof
    shows_stale: bool = True


@pytest.fixture(params=["fake", "tls", "client", "pidfile", "unit"])
def cases(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cases]:
    lab = lab_of_today()
    pair = put(lab.issue(make_spec(tmp_path)))
    newer = expecting(lab.issue(pair.spec))
    name, outputs = pair.spec.name, pair.spec.outputs
    ca = next(each.path for each in outputs if each.kind is OutputKind.CA)
    with contextlib.ExitStack() as stack:
        closed = _closed_port(stack)
        listener = stack.enter_context(Listener(TlsServer(pair)))
        fake, down = FakeProof(), FakeProof()
        fake.adopt(expecting(pair)[name])
        down.up = False
        pidfile = tmp_path / "own.pid"
        pidfile.write_text(str(os.getpid()))
        absent = str(tmp_path / "absent.pid")
        made = {
            "fake": Cases(fake, expecting(pair), newer, down),
            "tls": Cases(
                TlsProof(listener.address, name), expecting(pair), newer, TlsProof(closed, name)
            ),
            "client": Cases(
                ClientProof(f"https://{listener.address}/", name, outputs, ca),
                expecting(pair),
                newer,
                ClientProof(f"https://{closed}/", name, outputs, ca),
                shows_stale=False,
            ),
            "pidfile": Cases(
                PidfileStartedProof(str(pidfile)),
                _published_before_us(expecting(pair)),
                newer,
                PidfileStartedProof(absent),
            ),
            # A unit that is up needs a systemd: tests/systemd.
            "unit": Cases(fake, expecting(pair), newer, UnitStartedProof("certrotd-none.service")),
        }
        yield made[request.param]


def _closed_port(stack: contextlib.ExitStack) -> str:
    """A port that is taken, so that nobody else can, but on which nobody listens."""
    taken = stack.enter_context(socket.socket())
    taken.bind(("127.0.0.1", 0))
    return f"127.0.0.1:{taken.getsockname()[1]}"


def _published_before_us(expected: Expected) -> Expected:
    own = proc.look_up(os.getpid())
    assert own
    before = own.started - timedelta(seconds=1)
    return {name: replace(each, published_at=before) for name, each in expected.items()}


def test_what_is_in_use_is_proven(cases: Cases) -> None:
    evidence = cases.proof.check(cases.expected)
    assert evidence.holds
    assert evidence.reachable
    assert not evidence.stale


def test_looking_twice_sees_the_same(cases: Cases) -> None:
    assert cases.proof.check(cases.expected) == cases.proof.check(cases.expected)


def test_something_else_in_use_is_no_proof(cases: Cases) -> None:
    evidence = cases.proof.check(cases.outdated)
    assert not evidence.holds
    assert evidence.stale is cases.shows_stale


def test_without_a_publication_nothing_is_proven_and_nothing_is_stale(cases: Cases) -> None:
    evidence = cases.proof.check({})
    assert not evidence.holds
    assert not evidence.stale


def test_where_there_is_nothing_to_look_at_it_is_said(cases: Cases) -> None:
    evidence = cases.nowhere.check(cases.expected)
    assert not evidence.holds
    assert not evidence.reachable
    assert not evidence.stale


def test_the_detail_is_one_printable_line_for_a_person(cases: Cases) -> None:
    for proof in (cases.proof, cases.nowhere):
        for expected in (cases.expected, cases.outdated, {}):
            evidence = proof.check(expected)
            assert evidence.source
            assert evidence.detail
            assert evidence.detail.isprintable()
