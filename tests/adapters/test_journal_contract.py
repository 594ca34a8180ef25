"""What every journal does, the fake one included; then what only a file can suffer."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.adapters import journal as module
from certrotd.adapters.journal import FileJournal
from certrotd.core.errors import PublishRefused
from certrotd.core.model import (
    CertificateName,
    ComponentName,
    Entry,
    EntryKind,
    GenerationId,
    Published,
    RunId,
)
from certrotd.core.planning import owed_work
from tests.factories import NOW
from tests.fakes.journal import FakeJournal

if TYPE_CHECKING:
    from pathlib import Path

    from certrotd.ports import Journal

PUBLISHED = Published(
    certificate=CertificateName("server"),
    generation=GenerationId("20261124T120000.000000Z-abcdef"),
    previous=GenerationId("20261123T120000.000000Z-abcdef"),
    fingerprint="ab" * 32,
    serial="0c",
    not_after=NOW + timedelta(days=7),
    published_at=NOW + timedelta(microseconds=7),
)


def entry(
    kind: EntryKind = EntryKind.BEGUN, component: str = "server", minutes: float = 0, text: str = ""
) -> Entry:
    return Entry(
        at=NOW + timedelta(minutes=minutes),
        run=RunId("run"),
        kind=kind,
        component=ComponentName(component),
        detail=text,
    )


def published_entry() -> Entry:
    return replace(
        entry(EntryKind.PUBLISHED),
        certificate=PUBLISHED.certificate,
        published=PUBLISHED,
        detail='line\nbreak,\u2028 "quotes" and ünïcode',
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal"


@pytest.fixture(params=["fake", "file"])
def journal(request: pytest.FixtureRequest, path: Path) -> Journal:
    return FakeJournal() if request.param == "fake" else FileJournal(str(path))


def test_an_empty_journal_has_no_entries(journal: Journal) -> None:
    assert list(journal.replay()) == []


def test_entries_come_back_in_order_and_whole(journal: Journal) -> None:
    first_go = [entry(kind, minutes=i) for i, kind in enumerate(EntryKind)]
    journal.append(*first_go)
    journal.append()
    journal.append(published_entry())
    assert list(journal.replay()) == [*first_go, published_entry()]


def test_another_process_reads_what_was_appended(path: Path) -> None:
    FileJournal(str(path)).append(published_entry())
    again = FileJournal(str(path))
    assert list(again.replay()) == [published_entry()]
    assert again.damaged == 0


def test_only_its_owner_can_read_it_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        FileJournal(str(path)).append(entry())
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@given(cut=st.integers(min_value=1))
def test_a_torn_last_line_is_passed_over_and_cut_off(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("state") / "journal"
    journal = FileJournal(str(path))
    journal.append(entry(minutes=1))
    whole = path.stat().st_size
    journal.append(published_entry())
    torn = whole + cut % (path.stat().st_size - whole)
    os.truncate(path, torn)
    again = FileJournal(str(path))
    assert list(again.replay()) == [entry(minutes=1)]
    assert again.damaged == 0
    again.append(entry(minutes=2))
    assert list(again.replay()) == [entry(minutes=1), entry(minutes=2)]
    assert again.damaged == 0


def test_zeros_that_a_power_cut_leaves_at_the_end_are_cut_off(path: Path) -> None:
    journal = FileJournal(str(path))
    journal.append(entry(minutes=1))
    with path.open("ab") as file:
        file.write(bytes(10_000))
    assert list(journal.replay()) == [entry(minutes=1)]
    journal.append(entry(minutes=2))
    assert list(journal.replay()) == [entry(minutes=1), entry(minutes=2)]


@given(place=st.integers(min_value=0), bit=st.integers(min_value=0, max_value=7))
def test_a_damaged_line_is_counted_and_the_others_are_read(
    tmp_path_factory: pytest.TempPathFactory, place: int, bit: int
) -> None:
    path = tmp_path_factory.mktemp("state") / "journal"
    journal = FileJournal(str(path))
    journal.append(published_entry())
    end = path.stat().st_size - 1
    journal.append(entry(minutes=2))
    content = bytearray(path.read_bytes())
    content[place % end] ^= 1 << bit
    path.write_bytes(content)
    assert list(journal.replay()) == [entry(minutes=2)]
    # The flipped bit may have made a line break: then there are two damaged lines.
    assert journal.damaged in (1, 2)


def test_kinds_of_a_newer_certrotd_are_passed_over(path: Path) -> None:
    newer = entry()
    object.__setattr__(newer, "kind", "consecrated")
    journal = FileJournal(str(path))
    journal.append(entry(minutes=1), newer, entry(minutes=2))
    assert list(journal.replay()) == [entry(minutes=1), entry(minutes=2)]
    assert journal.damaged == 0


def test_what_cannot_be_written_is_refused_and_names_the_path(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    journal = FileJournal(str(tmp_path / "state" / "journal"))
    with pytest.raises(PublishRefused, match="state"):
        journal.append(entry())


def test_a_refused_append_leaves_no_trace(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = FileJournal(str(path))
    journal.append(entry(minutes=1))

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", full)
        with pytest.raises(PublishRefused, match="No space left") as caught:
            journal.append(entry(minutes=2))
    assert "free space" in caught.value.hint
    assert list(journal.replay()) == [entry(minutes=1)]


def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PublishRefused):
        FileJournal(str(path)).append(entry())
    assert not (tmp_path / "elsewhere").exists()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMPACTED_ABOVE", 4_000)
    monkeypatch.setattr(module, "KEPT_AT_MOST", 20)


@pytest.mark.usefixtures("small")
def test_compaction_keeps_the_last_entries_and_open_accounts(path: Path) -> None:
    journal = FileJournal(str(path))
    begun = entry(EntryKind.BEGUN, "owing", minutes=0)
    journal.append(begun, replace(published_entry(), component=ComponentName("owing")))
    owed = owed_work(journal.replay())
    day = 24 * 60
    for i in range(100):
        journal.append(
            entry(EntryKind.BEGUN, minutes=i * day), entry(EntryKind.DONE, minutes=i * day)
        )
    entries = list(journal.replay())
    assert len(entries) < 120
    assert owed_work(entries) == owed
    assert entries[-1] == entry(EntryKind.DONE, minutes=99 * day)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("small")
def test_compaction_never_forgets_what_the_issuance_budget_counts(path: Path) -> None:
    journal = FileJournal(str(path))
    issued = [entry(EntryKind.ISSUED, minutes=i) for i in range(300)]
    for each in issued:
        journal.append(each)
    assert list(journal.replay()) == issued


@pytest.mark.usefixtures("small")
def test_a_failed_compaction_loses_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = FileJournal(str(path))
    before = [entry(minutes=i * 2000) for i in range(30)]
    journal.append(*before)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "rename", refuse)
    journal.append(entry(minutes=60_000))
    assert list(journal.replay()) == [*before, entry(minutes=60_000)]
