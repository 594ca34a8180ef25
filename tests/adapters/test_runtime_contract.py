"""What every Runtime does, the fake one included."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.clock import SystemClock
from certrotd.adapters.processes import ProgramVersion
from certrotd.adapters.runtime import GivenVersion, ProcessRuntime
from certrotd.core.model import ReadFile, RuntimeFacts, SeenFile
from tests.factories import lab
from tests.fakes.runtime import FakeRuntime

if TYPE_CHECKING:
    from pathlib import Path

    from certrotd.ports import Runtime


@dataclass(frozen=True)
class Case:
    """A runtime that learns the version and one that does not; files to look at."""

    telling: Runtime
    mute: Runtime
    there: ReadFile
    missing: ReadFile


@pytest.fixture(params=["fake", "real"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    there = ReadFile(path=str(tmp_path / "ca.crt"), material="client-ca")
    missing = ReadFile(path=str(tmp_path / "none"), material="sa-key")
    (tmp_path / "ca.crt").write_bytes(lab().certificate * 2)
    if request.param == "real":
        mute = ProcessRuntime((ProgramVersion(missing.path),))
        return Case(ProcessRuntime((GivenVersion("v1.37.2"),)), mute, there, missing)
    at = SystemClock().now()
    seen = {
        there.path: SeenFile(file=there, changed_at=at, certificates=2),
        missing.path: SeenFile(file=missing, changed_at=None, problem="cannot be read"),
    }
    telling = FakeRuntime(RuntimeFacts(version="v1.37.2"), at, seen)
    return Case(telling, FakeRuntime(RuntimeFacts(detail="it is away"), at), there, missing)


def test_a_version_that_was_told_is_as_it_was_told(case: Case) -> None:
    facts = case.telling.facts()
    assert facts.version == "v1.37.2"
    assert facts.loopback_ends is None
    assert case.telling.facts() == facts


def test_a_version_that_was_not_told_has_a_reason(case: Case) -> None:
    facts = case.mute.facts()
    assert facts.version is None
    assert facts.detail
    assert facts.detail.isprintable()


def test_every_file_is_answered_for_in_order(case: Case) -> None:
    reads = (case.missing, case.there, case.missing)
    assert tuple(each.file for each in case.telling.files(reads)) == reads
    assert case.telling.files(()) == ()


def test_a_file_that_is_there_has_a_time_and_no_problem(case: Case) -> None:
    (seen,) = case.telling.files((case.there,))
    assert seen.changed_at
    assert seen.changed_at.utcoffset() == timedelta(0)
    assert (seen.certificates, seen.problem) == (2, "")


def test_a_file_that_is_missing_has_a_problem_and_no_time(case: Case) -> None:
    (seen,) = case.telling.files((case.missing,))
    assert seen.changed_at is None
    assert seen.problem
    assert seen.certificates == 0
