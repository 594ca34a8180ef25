"""Would a wrong row be found out? On cases that behave as they are told, without servers."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import dataclass, replace

import pytest

from tests.matrix import measuring
from tests.matrix.measuring import Finding, measure, row_of
from tests.matrix.publishing import Publication
from tests.matrix.report import saw


@dataclass
class Told:
    """Uses what is published `after` so many seconds (None: never), or after a restart."""

    program: str
    material: str
    after: float | None
    heeds_restart: bool = True
    process: str = "it"
    evidence: str = "what it says"
    interval: float = 0.01
    published: float = 0.0
    restarted: bool = False

    def publish(self) -> Publication:
        self.published = time.time()
        retired: Future[float] = Future()
        retired.set_result(self.published)
        return Publication(self.published, retired)

    def uses_new(self) -> bool:
        if not self.published or (self.restarted and self.heeds_restart):
            return True
        return self.after is not None and time.time() >= self.published + self.after

    def uses_old(self) -> bool:
        return not self.uses_new()

    def restart(self) -> None:
        self.restarted = True


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "_LATE", 0.5)
    monkeypatch.setattr(measuring, "GRACE", 0.0)
    monkeypatch.setattr(measuring, "AFTER_RESTART", 0.2)


def measured(told: Told) -> Finding:
    (found,) = measure([told], hold=0.2, rounds=1, processes={"it": told.restart})
    return found


def test_a_reload_within_its_limit_agrees() -> None:
    found = measured(Told("etcd", "serving", after=0.1))
    assert found.agrees()
    assert 0.1 <= (found.renamed or 0) < 0.5


def test_a_reload_beyond_its_limit_does_not() -> None:
    found = measured(Told("etcd", "serving", after=1.2))
    assert not found.agrees()
    assert found.agrees(allowance=5)


def test_a_reload_that_never_comes_does_not() -> None:
    found = measured(Told("etcd", "serving", after=None))
    assert not found.agrees(allowance=5)
    assert saw(found).startswith("not used after")


def test_what_is_used_after_a_restart_alone_agrees_with_a_restart() -> None:
    assert measured(Told("etcd", "trusted-ca", after=None)).agrees()


def test_what_is_used_without_a_restart_does_not() -> None:
    found = measured(Told("etcd", "trusted-ca", after=0.1))
    assert not found.agrees(allowance=5)
    assert "without a restart" in saw(found)


def test_what_is_not_used_after_a_restart_does_not() -> None:
    found = measured(Told("etcd", "trusted-ca", after=None, heeds_restart=False))
    assert not found.agrees()
    assert "after a restart" in saw(found)


def test_a_watcher_has_time_from_the_unlinking_everybody_else_from_the_rename() -> None:
    late = Finding(row=row_of("etcd", "serving"), evidence="", renamed=2.1, retired=0.1)
    assert not late.agrees()
    assert replace(late, row=row_of("kube-apiserver", "serving")).agrees()


def test_a_case_that_does_not_even_see_what_there_is_is_a_broken_case() -> None:
    told = Told("etcd", "serving", after=None, published=1.0)
    with pytest.raises(AssertionError, match="what it started with is not seen"):
        measured(told)
