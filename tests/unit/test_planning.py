"""What is due, in which order, and what is owed."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.core import planning
from certrotd.core.model import (
    CertificateName,
    Component,
    ComponentName,
    Entry,
    EntryKind,
    Finding,
    GenerationId,
    Observation,
    Owed,
    ParsedCertificate,
    Published,
    Reason,
    RunId,
    Secret,
    StoredFile,
    StoredSet,
)
from certrotd.core.planning import Moment, Wish
from certrotd.core.render import render
from tests.factories import NOW, lab, make_component, make_spec, make_verified

HOUR = timedelta(hours=1)
MOMENT = Moment(now=NOW, slot=NOW - HOUR, next_slot=NOW + 23 * HOUR)
NAMES = ["a", "b", "c", "d", "e", "f"]


@cache
def leaf(name: str) -> ParsedCertificate:
    """A good leaf for the certificate of this name."""
    return make_verified(Path("/pki"), name).leaf


def component(name: str, *after: str) -> Component:
    """A component with one certificate of the same name."""
    waits = tuple(map(ComponentName, after))
    return make_component(make_spec(Path("/pki"), name), after=waits)


def seen(name: str, *reasons: Reason, published_at: datetime | None = NOW - HOUR) -> Observation:
    """What was found of a certificate."""
    spec = make_spec(Path("/pki"), name)
    generation = GenerationId(f"gen-{name}") if published_at else None
    findings = tuple(Finding(certificate=spec.name, reason=each, detail="") for each in reasons)
    stored = StoredSet(files=(), generation=generation, published_at=published_at)
    return Observation(spec=spec, stored=stored, leaf=leaf(name), findings=findings)


def published(name: str, **changes: Any) -> Published:
    """The publication that `seen(name)` came from, as the journal recorded it."""
    whole = Published(
        certificate=CertificateName(name),
        generation=GenerationId(f"gen-{name}"),
        previous=GenerationId("before"),
        fingerprint=leaf(name).fingerprint,
        serial=leaf(name).serial,
        not_after=leaf(name).not_after,
        published_at=NOW - HOUR,
    )
    return replace(whole, **changes)


def entry(kind: EntryKind, name: str = "a", at: datetime = NOW, **changes: Any) -> Entry:
    """One line of the journal."""
    made = Entry(at=at, run=RunId("run"), kind=kind, component=ComponentName(name))
    return replace(made, **changes)


def steps(
    components: list[Component],
    observations: list[Observation],
    owed: dict[ComponentName, Owed] | None = None,
    wish: Wish | None = None,
) -> list[tuple[str, list[str], list[str]]]:
    """Plan; return each step's component, what it replaces and what it owes."""
    by_name = {each.spec.name: each for each in observations}
    made = planning.plan(tuple(components), by_name, owed or {}, wish or Wish(), MOMENT)
    assert made.next_slot == MOMENT.next_slot
    assert made.observations == tuple(observations)
    return [
        (
            step.component.name,
            [each.spec.name for each in step.replacements],
            [each.certificate for each in step.owed.published] if step.owed else [],
        )
        for step in made.steps
    ]


# --- order


@st.composite
def graphs(draw: st.DrawFn) -> list[Component]:
    """Components without cycles, in any order; some wait for what is not there."""
    names = draw(st.permutations(NAMES))
    made = []
    for i, name in enumerate(names):
        known = st.sampled_from([*names[:i], "elsewhere"])
        made.append(component(name, *draw(st.lists(known, unique=True, max_size=3))))
    return draw(st.permutations(made))


@given(graphs())
def test_every_component_comes_once_and_after_what_it_waits_for(
    components: list[Component],
) -> None:
    order = planning.ordered(components)
    place = {each.name: i for i, each in enumerate(order)}
    assert sorted(place) == NAMES
    for each in components:
        for other in each.after:
            assert other not in place or place[other] < place[each.name]


@given(graphs())
def test_an_order_that_holds_already_is_kept(components: list[Component]) -> None:
    order = planning.ordered(components)
    assert planning.ordered(order) == order


@given(st.permutations(NAMES))
def test_components_without_order_stay_as_they_are_given(names: list[str]) -> None:
    given_order = tuple(component(name) for name in names)
    assert planning.ordered(given_order) == given_order


def test_a_thousand_components_may_wait_in_one_row() -> None:
    spec = make_spec(Path("/pki"), "x")
    row = [
        make_component(
            spec,
            name=ComponentName(f"c{n}"),
            after=(ComponentName(f"c{n + 1}"),) if n < 2000 else (),
        )
        for n in range(2001)
    ]
    assert planning.ordered(row) == tuple(reversed(row))


def test_a_cycle_does_not_keep_the_order_from_ending() -> None:
    order = planning.ordered([component("a", "b"), component("b", "a"), component("c", "c")])
    assert sorted(each.name for each in order) == ["a", "b", "c"]


# --- plan


def test_nothing_is_due_where_nothing_was_found() -> None:
    assert steps([component("a"), component("b")], [seen("a"), seen("b")]) == []


def test_steps_come_in_the_order_of_after() -> None:
    components = [component("a", "b"), component("b")]
    found = [seen("a", Reason.DUE), seen("b", Reason.DUE)]
    assert steps(components, found) == [("b", ["b"], []), ("a", ["a"], [])]


@pytest.mark.parametrize("reason", sorted(set(Reason) - {Reason.NOT_SERVED}))
def test_each_reason_but_one_replaces(reason: Reason) -> None:
    assert steps([component("a")], [seen("a", reason)]) == [("a", ["a"], [])]


def test_a_leaf_that_is_only_not_served_is_owed_and_not_replaced() -> None:
    assert steps([component("a")], [seen("a", Reason.NOT_SERVED)]) == [("a", [], ["a"])]


def test_a_leaf_that_is_not_served_and_not_ours_is_nobody_s_debt() -> None:
    found = seen("a", Reason.NOT_SERVED, published_at=None)
    assert steps([component("a")], [found]) == []


def test_one_certificate_that_is_due_leaves_its_siblings_alone() -> None:
    specs = [make_spec(Path("/pki"), name) for name in "ab"]
    both = make_component(*specs, name=ComponentName("both"))
    assert steps([both], [seen("a", Reason.DUE), seen("b")]) == [("both", ["a"], [])]


def test_a_wish_for_one_component_leaves_the_others_out() -> None:
    found = [seen("a", Reason.DUE), seen("b", Reason.DUE)]
    wish = Wish(components=frozenset({ComponentName("b")}))
    assert steps([component("a"), component("b")], found, wish=wish) == [("b", ["b"], [])]


def test_what_was_begun_and_is_on_disk_is_owed_with_its_record() -> None:
    account = Owed(
        component=ComponentName("a"), since=NOW - 2 * HOUR, published=(published("a"),), begun=True
    )
    made = planning.plan(
        (component("a"),),
        {CertificateName("a"): seen("a")},
        {account.component: account},
        Wish(),
        MOMENT,
    )
    assert [step.owed for step in made.steps] == [account]


def test_a_crash_between_the_switch_and_its_record_leaves_a_debt() -> None:
    account = Owed(component=ComponentName("a"), since=NOW - 2 * HOUR, begun=True)
    assert steps([component("a")], [seen("a")], {account.component: account}) == [("a", [], ["a"])]


def test_a_crash_before_the_switch_leaves_no_debt() -> None:
    account = Owed(component=ComponentName("a"), since=NOW, begun=True)
    assert steps([component("a")], [seen("a")], {account.component: account}) == []


def test_a_debt_of_a_generation_that_is_gone_is_forgotten() -> None:
    account = Owed(
        component=ComponentName("a"),
        since=NOW - 2 * HOUR,
        published=(published("a", generation=GenerationId("gone")),),
        begun=True,
    )
    made = planning.plan(
        (component("a"),),
        {CertificateName("a"): seen("a")},
        {account.component: account},
        Wish(),
        MOMENT,
    )
    (step,) = made.steps
    assert step.owed is not None
    assert step.owed.published == (published("a", previous=None),)


def test_nothing_published_by_us_is_no_publication() -> None:
    with pytest.raises(ValueError, match="a was not published by certrotd"):
        planning.as_published(seen("a", published_at=None))


# --- observe


def stored_set(content: dict[int, bytes | None]) -> StoredSet:
    """The files of a good pair, some with other content."""
    verified = make_verified(Path("/pki"))
    files = [StoredFile(output=output, content=secret) for output, secret in render(verified)]
    for i, other in content.items():
        files[i] = replace(files[i], content=None if other is None else Secret(other))
    return StoredSet(files=tuple(files), issued_at=NOW, published_at=NOW)


@pytest.mark.parametrize(
    ("content", "reasons"),
    [
        ({}, []),
        ({0: None}, [Reason.MISSING]),
        ({0: b""}, [Reason.UNREADABLE]),
        ({0: b"rubbish"}, [Reason.UNREADABLE]),
        (
            {1: b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"},
            [Reason.UNREADABLE],
        ),
    ],
)
def test_files_are_understood_or_a_reason_is_found(
    content: dict[int, bytes | None], reasons: list[Reason]
) -> None:
    made = planning.observe(make_spec(Path("/pki")), stored_set(content), lab().anchors, MOMENT)
    assert [each.reason for each in made.findings] == reasons


def test_a_key_of_another_pair_is_a_mismatch() -> None:
    other = dict(enumerate(secret for _, secret in render(make_verified(Path("/pki")))))
    made = planning.observe(
        make_spec(Path("/pki")), stored_set({1: other[1].reveal()}), lab().anchors, MOMENT
    )
    assert [each.reason for each in made.findings] == [Reason.KEY_MISMATCH]


def test_what_was_learned_later_comes_last() -> None:
    found = planning.with_finding(seen("a", Reason.DUE), Reason.NOT_SERVED, "old serial")
    assert [each.reason for each in found.findings] == [Reason.DUE, Reason.NOT_SERVED]
    assert found.findings[1].detail == "old serial"


# --- the journal


def test_what_was_begun_is_owed_until_it_is_done_or_put_back() -> None:
    begun = [entry(EntryKind.BEGUN), entry(EntryKind.PUBLISHED, published=published("a"))]
    account = Owed(component=ComponentName("a"), since=NOW, published=(published("a"),), begun=True)
    assert planning.owed_work(begun) == {"a": account}
    for kind in (EntryKind.ACTIVATED, EntryKind.FAILED, EntryKind.ISSUED):
        assert planning.owed_work([*begun, entry(kind)]) == {"a": account}
    for kind in (EntryKind.DONE, EntryKind.ROLLED_BACK):
        assert planning.owed_work([*begun, entry(kind)]) == {}


def test_a_debt_counts_from_its_first_beginning() -> None:
    entries = [entry(EntryKind.BEGUN, at=NOW - HOUR), entry(EntryKind.BEGUN, at=NOW)]
    assert planning.owed_work(entries)[ComponentName("a")].since == NOW - HOUR


kinds = st.sampled_from([*EntryKind])
journals = st.lists(
    st.builds(entry, kinds, st.sampled_from(NAMES[:3])).map(
        lambda each: (
            replace(each, published=published(each.component))
            if each.kind is EntryKind.PUBLISHED
            else each
        )
    ),
    max_size=30,
)


@given(journals)
def test_only_the_entries_since_a_component_was_last_settled_count(entries: list[Entry]) -> None:
    owed = planning.owed_work(entries)
    for name in map(ComponentName, NAMES[:3]):
        own = [each for each in entries if each.component == name]
        closed = [i for i, e in enumerate(own) if e.kind in (EntryKind.DONE, EntryKind.ROLLED_BACK)]
        rest = own[closed[-1] + 1 :] if closed else own
        opened = [e for e in rest if e.kind in (EntryKind.BEGUN, EntryKind.PUBLISHED)]
        assert (name in owed) == bool(opened)
        if opened:
            assert owed[name].published == tuple(e.published for e in opened if e.published)


@given(journals, st.integers(0, 30))
def test_components_do_not_touch_each_other_s_debts(entries: list[Entry], cut: int) -> None:
    ours = [each for each in entries if each.component == "a"]
    others = [each for each in entries if each.component != "a"]
    mixed = planning.owed_work([*others[:cut], *ours, *others[cut:]])
    assert mixed.get(ComponentName("a")) == planning.owed_work(ours).get(ComponentName("a"))


def test_signatures_of_a_day_are_counted_for_each_certificate() -> None:
    def issued(name: str, ago: timedelta, kind: EntryKind = EntryKind.ISSUED) -> Entry:
        return entry(kind, at=NOW - ago, certificate=CertificateName(name))

    entries = [
        issued("a", 25 * HOUR),
        issued("a", 24 * HOUR),
        issued("a", 23 * HOUR),
        issued("a", HOUR),
        issued("b", HOUR),
        issued("b", HOUR, EntryKind.REFUSED),
        issued("c", HOUR, EntryKind.REFUSED),
        issued("c", HOUR),
        issued("d", -HOUR),
        entry(EntryKind.DONE),
    ]
    counted = planning.issued_since(entries, NOW, timedelta(days=1))
    assert counted == {"a": 2, "b": 0, "c": 1, "d": 1}
