"""What every hold does, the fake one included; then what only a file can suffer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.hold import FileHold
from certrotd.core.errors import PublishRefused
from tests.factories import NOW
from tests.fakes.hold import FakeHold

if TYPE_CHECKING:
    from pathlib import Path

    from certrotd.ports import Hold


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "hold"


@pytest.fixture(params=["fake", "file"])
def hold(request: pytest.FixtureRequest, path: Path) -> Hold:
    return FakeHold() if request.param == "fake" else FileHold(str(path))


def test_at_first_there_is_none(hold: Hold) -> None:
    assert hold.placed() is None


def test_it_can_be_lifted_where_there_is_none(hold: Hold) -> None:
    hold.lift()
    hold.place("why", NOW)
    hold.lift()
    hold.lift()
    assert hold.placed() is None


def test_the_first_reason_stays(hold: Hold) -> None:
    hold.place('etcd did not come back: "héalth"\nred', NOW)
    hold.place("another", NOW + timedelta(hours=1))
    assert hold.placed() == ('etcd did not come back: "héalth"\nred', NOW)


def test_after_it_was_lifted_a_new_reason_counts(hold: Hold) -> None:
    hold.place("one", NOW)
    hold.lift()
    hold.place("two", NOW)
    assert hold.placed() == ("two", NOW)


def test_another_process_sees_it(path: Path) -> None:
    FileHold(str(path)).place("why", NOW)
    assert FileHold(str(path)).placed() == ("why", NOW)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"reason": "x"', b"\x00" * 50, b'{"reason":"x","at":"noon"}']
)
def test_a_damaged_file_is_a_hold(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    placed = FileHold(str(path)).placed()
    assert placed is not None
    reason, at = placed
    assert str(path) in reason
    assert abs(datetime.fromtimestamp(path.stat().st_mtime, UTC) - at) < timedelta(seconds=1)


def test_what_cannot_be_written_is_refused(path: Path) -> None:
    path.parent.write_text("in the way")
    with pytest.raises(PublishRefused):
        FileHold(str(path)).place("why", NOW)
