"""What every store does, the fake one included."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.store import GenerationStore
from certrotd.core.errors import PublishRefused
from certrotd.core.model import GenerationId, Output, OutputKind
from certrotd.core.render import render
from tests.factories import NOW, lab, make_outputs, make_spec, make_verified
from tests.fakes.store import FakeStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from certrotd.core.model import CertificateSpec, StoredSet, Verified
    from certrotd.ports import Store

KEEP = 3
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Shelf:
    """A store, a directory for outputs, and the means to put files there behind its back."""

    store: Store
    home: Path
    plant: Callable[[Path, bytes], None]
    make_unwritable: Callable[[Path], None]


def real(tmp_path: Path) -> Shelf:
    def make_unwritable(directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        directory.chmod(0o777)

    home = tmp_path / "pki"
    home.mkdir(mode=0o755)
    store = GenerationStore(str(tmp_path / "state" / "history"), keep=KEEP)
    return Shelf(store, home, lambda path, data: void(path.write_bytes(data)), make_unwritable)


def fake(tmp_path: Path) -> Shelf:
    store = FakeStore(keep=KEEP)
    return Shelf(
        store,
        tmp_path / "pki",
        lambda path, data: store.files.update({str(path): data}),
        lambda directory: store.unwritable.add(str(directory)),
    )


def void(_: object) -> None:
    """Take a value and give nothing back."""


@pytest.fixture(params=[fake, real])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Shelf:
    made: Shelf = request.param(tmp_path)
    return made


def contents(found: StoredSet) -> dict[str, bytes | None]:
    return {f.output.path: f.content.reveal() if f.content else None for f in found.files}


def rendered(verified: Verified) -> dict[str, bytes | None]:
    return {output.path: content.reveal() for output, content in render(verified)}


def put_plain(shelf: Shelf, verified: Verified) -> None:
    for output, content in render(verified):
        shelf.plant(shelf.home / output.path.rpartition("/")[2], content.reveal())


def quiet(found: StoredSet) -> bool:
    return not any(each.problem or each.drift for each in found.files)


def test_where_nothing_is_nothing_is_read(shelf: Shelf) -> None:
    found = shelf.store.read(make_spec(shelf.home))
    assert set(contents(found).values()) == {None}
    assert quiet(found)
    assert (found.generation, found.issued_at, found.published_at) == (None, None, None)


def test_what_is_published_is_read_back(shelf: Shelf) -> None:
    verified = make_verified(shelf.home)
    published = shelf.store.publish(verified, NOW + MINUTE)
    found = shelf.store.read(verified.spec)
    assert contents(found) == rendered(verified)
    assert quiet(found)
    assert found.generation == published.generation
    assert found.issued_at == verified.issued_at
    assert found.published_at == published.published_at == NOW + MINUTE
    assert published.fingerprint == verified.leaf.fingerprint
    assert published.serial == verified.leaf.serial
    assert published.not_after == verified.leaf.not_after
    assert published.certificate == verified.spec.name


def test_plain_files_are_read_and_belong_to_no_generation(shelf: Shelf) -> None:
    before = make_verified(shelf.home)
    put_plain(shelf, before)
    found = shelf.store.read(before.spec)
    assert contents(found) == rendered(before)
    assert (found.generation, found.issued_at, found.published_at) == (None, None, None)


def test_the_first_publication_has_nothing_to_go_back_to(shelf: Shelf) -> None:
    verified = make_verified(shelf.home)
    assert shelf.store.publish(verified, NOW).previous is None
    assert shelf.store.history(verified.spec) == ()


def test_a_replaced_pair_can_be_restored(shelf: Shelf) -> None:
    first, second = make_verified(shelf.home), make_verified(shelf.home)
    shelf.store.publish(first, NOW)
    replaced = shelf.store.publish(second, NOW + MINUTE)
    assert replaced.previous is not None
    assert shelf.store.history(first.spec) == (replaced.previous,)
    back = shelf.store.restore(first.spec, replaced.previous, NOW + 2 * MINUTE)
    found = shelf.store.read(first.spec)
    assert contents(found) == rendered(first)
    assert found.generation == back.generation
    assert back.generation not in (replaced.previous, replaced.generation)
    assert back.fingerprint == first.leaf.fingerprint
    assert back.published_at == found.published_at == NOW + 2 * MINUTE


def test_a_restored_pair_is_as_old_as_it_was(shelf: Shelf) -> None:
    first = lab().issue(make_spec(shelf.home), NOW)
    second = lab().issue(make_spec(shelf.home), NOW + MINUTE)
    shelf.store.publish(first, NOW)
    previous = shelf.store.publish(second, NOW + MINUTE).previous
    assert previous
    shelf.store.restore(first.spec, previous, NOW + 2 * MINUTE)
    assert shelf.store.read(first.spec).issued_at == NOW


def test_files_from_before_certrotd_can_be_restored(shelf: Shelf) -> None:
    before, verified = make_verified(shelf.home), make_verified(shelf.home)
    put_plain(shelf, before)
    previous = shelf.store.publish(verified, NOW).previous
    assert previous
    assert contents(shelf.store.read(verified.spec)) == rendered(verified)
    shelf.store.restore(verified.spec, previous, NOW + MINUTE)
    found = shelf.store.read(verified.spec)
    assert contents(found) == rendered(before)
    assert found.issued_at is None
    assert found.published_at == NOW + MINUTE


def test_rubbish_is_replaced_and_nothing_to_go_back_to(shelf: Shelf) -> None:
    verified = make_verified(shelf.home)
    for output in verified.spec.outputs:
        shelf.plant(shelf.home / output.path.rpartition("/")[2], b"rubbish")
    assert shelf.store.publish(verified, NOW).previous is None
    assert contents(shelf.store.read(verified.spec)) == rendered(verified)
    assert shelf.store.history(verified.spec) == ()


def test_a_certificate_without_its_key_is_nothing_to_go_back_to(shelf: Shelf) -> None:
    before, verified = make_verified(shelf.home), make_verified(shelf.home)
    for output, content in render(before):
        if not output.secret:
            shelf.plant(shelf.home / output.path.rpartition("/")[2], content.reveal())
    assert shelf.store.publish(verified, NOW).previous is None
    assert contents(shelf.store.read(verified.spec)) == rendered(verified)
    assert shelf.store.history(verified.spec) == ()


def test_the_same_pair_again_goes_back_to_what_was_before_it(shelf: Shelf) -> None:
    first, second = make_verified(shelf.home), make_verified(shelf.home)
    shelf.store.publish(first, NOW)
    once = shelf.store.publish(second, NOW + MINUTE)
    again = shelf.store.publish(second, NOW + MINUTE)
    assert again.generation != once.generation
    assert again.previous == once.previous
    assert len(shelf.store.history(first.spec)) == 1


def test_retire_waits_for_its_time_and_takes_all_but_the_live_generation(shelf: Shelf) -> None:
    first, second = make_verified(shelf.home), make_verified(shelf.home)
    shelf.store.publish(first, NOW)
    shelf.store.publish(second, NOW + MINUTE)
    assert shelf.store.retire(first.spec, NOW + MINUTE / 2) == 0
    assert shelf.store.retire(first.spec, NOW + MINUTE) == 1
    assert shelf.store.retire(first.spec, NOW + MINUTE) == 0
    assert contents(shelf.store.read(first.spec)) == rendered(second)
    assert len(shelf.store.history(first.spec)) == 1


def test_retire_has_nothing_to_do_where_nothing_was_published(shelf: Shelf) -> None:
    assert shelf.store.retire(make_spec(shelf.home), NOW) == 0


def test_history_is_in_order_and_bounded(shelf: Shelf) -> None:
    spec = make_spec(shelf.home)
    previous = []
    for i in range(KEEP + 3):
        # Whatever the clock does.
        at = NOW - i * MINUTE
        previous.append(shelf.store.publish(lab().issue(spec), at).previous)
        shelf.store.retire(spec, NOW + MINUTE)
    assert shelf.store.history(spec) == tuple(previous[-KEEP:])


def test_a_generation_that_is_not_kept_is_refused(shelf: Shelf) -> None:
    verified = make_verified(shelf.home)
    shelf.store.publish(verified, NOW)
    with pytest.raises(PublishRefused):
        shelf.store.restore(verified.spec, GenerationId("never"), NOW + MINUTE)
    assert contents(shelf.store.read(verified.spec)) == rendered(verified)


def test_certificates_in_one_directory_do_not_disturb_each_other(shelf: Shelf) -> None:
    one, other = make_verified(shelf.home, "one"), make_verified(shelf.home, "other")
    shelf.store.publish(one, NOW)
    shelf.store.publish(other, NOW)
    shelf.store.publish(make_verified(shelf.home, "one"), NOW + MINUTE)
    assert shelf.store.retire(one.spec, NOW + MINUTE) == 1
    assert contents(shelf.store.read(other.spec)) == rendered(other)
    assert shelf.store.history(other.spec) == ()


def test_an_added_output_appears(shelf: Shelf) -> None:
    verified = make_verified(shelf.home)
    shelf.store.publish(verified, NOW)
    more = Output(path=str(shelf.home / "both.pem"), kind=OutputKind.COMBINED, mode=0o600)
    spec = replace(verified.spec, outputs=(*verified.spec.outputs, more))
    assert contents(shelf.store.read(spec))[more.path] is None
    wider = lab().issue(spec)
    shelf.store.publish(wider, NOW + MINUTE)
    found = shelf.store.read(spec)
    assert contents(found) == rendered(wider)
    assert quiet(found)


def test_an_output_added_since_is_missing_again_after_a_restore(shelf: Shelf) -> None:
    verified = make_verified(shelf.home)
    shelf.store.publish(verified, NOW)
    more = Output(path=str(shelf.home / "both.pem"), kind=OutputKind.COMBINED, mode=0o600)
    spec = replace(verified.spec, outputs=(*verified.spec.outputs, more))
    previous = shelf.store.publish(lab().issue(spec), NOW + MINUTE).previous
    assert previous
    shelf.store.restore(spec, previous, NOW + 2 * MINUTE)
    assert contents(shelf.store.read(spec)) == {**rendered(verified), more.path: None}


def test_a_removed_output_goes_on_showing_what_it_showed(shelf: Shelf) -> None:
    verified = make_verified(shelf.home)
    shelf.store.publish(verified, NOW)
    narrower = replace(verified.spec, outputs=verified.spec.outputs[:2])
    for i in (1, 2):
        shelf.store.publish(lab().issue(narrower), NOW + i * MINUTE)
        shelf.store.retire(narrower, NOW + i * MINUTE)
    removed = verified.spec.outputs[2].path
    assert contents(shelf.store.read(verified.spec))[removed] == rendered(verified)[removed]


def test_preflight_passes_where_publishing_works_and_shows_nothing(shelf: Shelf) -> None:
    before = make_verified(shelf.home)
    put_plain(shelf, before)
    shelf.store.preflight([before.spec, make_spec(shelf.home, "other")])
    found = shelf.store.read(before.spec)
    assert contents(found) == rendered(before)
    assert found.generation is None


def test_preflight_names_every_target_that_cannot_be_written(shelf: Shelf) -> None:
    good = make_spec(shelf.home)
    bad = [shelf.home.parent / name for name in ("bad", "worse")]
    for directory in bad:
        shelf.make_unwritable(directory)
    specs: list[CertificateSpec] = [
        good,
        *(make_spec(directory, directory.name) for directory in bad),
        replace(make_spec(bad[0], "again"), outputs=make_outputs(bad[0], "again")),
    ]
    with pytest.raises(PublishRefused) as caught:
        shelf.store.preflight(specs)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert [str(directory) in line for directory, line in zip(bad, lines, strict=True)] == [
        True,
        True,
    ]
    assert caught.value.hint
