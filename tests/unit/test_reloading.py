"""Reload or restart: decided from rows, always on the safe side."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.core.model import Decision
from certrotd.core.reloading import (
    LOOPBACK_MARGIN,
    ChangedFile,
    MatrixRow,
    Version,
    decide,
    parse_version,
    row_for,
    version_text,
)

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
NEWEST = (1, 37, 2)


def row(material: str, within: timedelta | None = None, **given: object) -> MatrixRow:
    """A row for all releases; one that needs a restart unless it says how fast it reloads."""
    values: dict[str, object] = {
        "program": "kube-apiserver",
        "material": material,
        "flags": (),
        "since": None,
        "before": None,
        "reloads": within is not None,
        "within": within or timedelta(0),
        "how": "inotify" if within else "read at the start only",
        "proof": "",
        "minimum_life": timedelta(0),
        "source": "",
    }
    return MatrixRow(**(values | given))  # type: ignore[arg-type]  # the defaults are above


ROWS = (
    row("serving", 90 * SECOND, since=(1, 17, 0), before=(1, 23, 0), how="read each minute"),
    row("serving", SECOND, since=(1, 23, 0)),
    row("kubelet-client", 6 * MINUTE, minimum_life=10 * MINUTE),
    row("kubelet-ca", before=(1, 36, 0)),
    row("kubelet-ca", 5 * MINUTE, since=(1, 36, 0)),
    row("etcd-ca"),
)


def changed(material: str | None, remaining: timedelta | None = None) -> ChangedFile:
    return ChangedFile(path=f"/pki/{material}", material=material, remaining=remaining)


def decision(
    *files: ChangedFile,
    version: Version | None = NEWEST,
    loopback_ends: datetime | None = None,
) -> Decision:
    return decide(ROWS, "kube-apiserver", version, files, loopback_ends, NOW)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("v1.37.2", (1, 37, 2)),
        ("1.36.2-gke.1", (1, 36, 2)),
        ("1.36.2+k3s1", (1, 36, 2)),
        ("3.6.16", (3, 6, 16)),
        ("1.32+", (1, 32, 0)),
        ("1.32", (1, 32, 0)),
        (" v1.37.2\n", (1, 37, 2)),
        ("v1.36.0-alpha.1", None),
        ("v1.36.0-rc.0", None),
        ("v0.0.0-master+$Format:%H$", None),
        ("Kubernetes v1.37.2", None),
        ("1", None),
        ("1.2.3.4", None),
        ("", None),
    ],
)
def test_versions_are_read_and_what_says_no_release_is_not_known(
    text: str, version: Version | None
) -> None:
    assert parse_version(text) == version


versions = st.tuples(st.integers(1, 3), st.integers(0, 99), st.integers(0, 99))


@given(versions)
def test_a_version_that_was_written_is_read_again(version: Version) -> None:
    assert parse_version(version_text(version)) == version


@pytest.mark.parametrize(
    ("version", "within"),
    [
        ((1, 16, 9), None),
        ((1, 17, 0), 90 * SECOND),
        ((1, 22, 99), 90 * SECOND),
        ((1, 23, 0), SECOND),
        (NEWEST, SECOND),
    ],
)
def test_the_row_of_a_release_is_the_one_whose_half_open_range_it_lies_in(
    version: Version, within: timedelta | None
) -> None:
    found = row_for(ROWS, "kube-apiserver", "serving", version)
    assert (found and found.within) == within


def test_an_unknown_version_takes_the_restart_row_else_the_slowest() -> None:
    kubelet_ca = row_for(ROWS, "kube-apiserver", "kubelet-ca", None)
    serving = row_for(ROWS, "kube-apiserver", "serving", None)
    assert kubelet_ca is not None
    assert not kubelet_ca.reloads
    assert serving is not None
    assert serving.within == 90 * SECOND


def test_unknown_programs_and_materials_have_no_row() -> None:
    assert row_for(ROWS, "kube-apiserver", "sni", None) is None
    assert row_for(ROWS, "etcd", "serving", NEWEST) is None


def test_leaves_that_are_reloaded_restart_nothing_and_say_how() -> None:
    found = decision(
        changed("serving"), changed("serving"), changed("kubelet-client", 7 * MINUTE * 9)
    )
    assert not found.restart
    assert found.within == 6 * MINUTE
    assert found.reasons == (
        "serving: inotify, within 1 s (matrix: kube-apiserver serving)",
        "kubelet-client: inotify, within 360 s (matrix: kube-apiserver kubelet-client)",
    )


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (changed("etcd-ca"), "etcd-ca: read at the start only (matrix: kube-apiserver etcd-ca)"),
        (changed("sni"), "sni: the matrix has no row for kube-apiserver 1.37.2"),
        (changed(None), "/pki/None: what kube-apiserver 1.37.2 does with it is not known"),
        (
            changed("kubelet-client", 9 * MINUTE),
            (
                "kubelet-client: what it replaces ends in 9 min, and a reload is waited for only "
                "with 10 min left (matrix: kube-apiserver kubelet-client)"
            ),
        ),
    ],
)
def test_one_file_that_is_not_reloaded_is_a_restart_and_the_only_reason(
    file: ChangedFile, reason: str
) -> None:
    found = decision(changed("serving"), file)
    assert found == Decision(restart=True, reasons=(reason,), within=timedelta(0))


def test_only_rows_with_a_minimum_life_ask_how_long_the_old_one_lives() -> None:
    assert not decision(changed("serving", -MINUTE)).restart
    assert not decision(changed("kubelet-client", None)).restart
    assert not decision(changed("kubelet-client", 10 * MINUTE)).restart
    assert decision(changed("kubelet-client", -MINUTE)).restart


def test_an_unknown_version_says_that_the_safest_row_applies() -> None:
    said = "the version of kube-apiserver is not known: the safest row applies"
    assert decision(changed("kubelet-ca"), version=None).restart
    assert said in decision(changed("kubelet-ca"), version=None).reasons
    assert said in decision(changed("serving"), version=None).reasons
    assert decision(changed("serving"), version=None).within == 90 * SECOND
    assert not decision(changed("kubelet-ca")).restart


def test_the_loopback_certificate_asks_for_a_restart_thirty_days_before_its_end() -> None:
    ends = NOW + LOOPBACK_MARGIN
    assert not decision(loopback_ends=ends).restart
    found = decision(changed("serving"), loopback_ends=ends - SECOND)
    assert found.restart
    assert found.reasons == (
        "its in-memory loopback certificate ends 2026-12-26: a planned restart",
    )


def test_nothing_changed_needs_nothing() -> None:
    assert decision(version=None) == Decision(restart=False, reasons=(), within=timedelta(0))


materials = st.sampled_from(["serving", "kubelet-client", "kubelet-ca", "etcd-ca", "sni", None])
files = st.builds(
    ChangedFile,
    path=st.just("/pki/file"),
    material=materials,
    remaining=st.none() | st.timedeltas(-MINUTE, 20 * MINUTE),
)
covered = st.tuples(st.just(1), st.integers(17, 50), st.integers(0, 9))
endings = st.none() | st.datetimes().map(lambda each: each.replace(tzinfo=UTC))


@given(st.lists(files, max_size=5).map(tuple), files, st.none() | covered, endings)
def test_one_more_changed_file_never_makes_it_less_safe(
    some: tuple[ChangedFile, ...],
    more: ChangedFile,
    version: Version | None,
    ends: datetime | None,
) -> None:
    few = decision(*some, version=version, loopback_ends=ends)
    many = decision(*some, more, version=version, loopback_ends=ends)
    assert many.restart >= few.restart
    assert many.restart or many.within >= few.within


@given(st.lists(files, max_size=5).map(tuple), covered, endings)
def test_an_unknown_version_is_never_less_safe_than_a_known_one(
    some: tuple[ChangedFile, ...], version: Version, ends: datetime | None
) -> None:
    known = decision(*some, version=version, loopback_ends=ends)
    unknown = decision(*some, version=None, loopback_ends=ends)
    assert unknown.restart >= known.restart
    assert unknown.restart or unknown.within >= known.within


@given(st.lists(files, min_size=1, max_size=5).map(tuple), st.none() | covered, endings)
def test_every_decision_says_why(
    some: tuple[ChangedFile, ...], version: Version | None, ends: datetime | None
) -> None:
    found = decision(*some, version=version, loopback_ends=ends)
    assert found.reasons
    assert len(found.reasons) == len(set(found.reasons))


@given(st.lists(files, max_size=5).map(tuple), st.none() | covered)
def test_without_a_matrix_every_change_is_a_restart(
    some: tuple[ChangedFile, ...], version: Version | None
) -> None:
    assert decide((), "kube-apiserver", version, some, None, NOW).restart == bool(some)


@given(st.lists(files, max_size=5).map(tuple), st.none() | covered)
def test_rows_of_another_program_count_for_nothing(
    some: tuple[ChangedFile, ...], version: Version | None
) -> None:
    others = tuple(replace(each, program="etcd") for each in ROWS)
    assert decide(others, "kube-apiserver", version, some, None, NOW).restart == bool(some)
