"""Why: each reason for replacing a certificate, and which one decides."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.core import policy, renewal
from certrotd.core.model import (
    CertificateSpec,
    GenerationId,
    KeyAlgorithm,
    ParsedCertificate,
    Reason,
    Secret,
    StoredFile,
    StoredSet,
    Usage,
)
from certrotd.core.policy import Look
from tests.factories import NOW, make_spec, make_verified

SPEC = make_spec(Path("/pki"))
SLOT = NOW - timedelta(hours=1)


@cache
def leaf() -> ParsedCertificate:
    """A leaf exactly as SPEC asks for it."""
    return make_verified(Path("/pki")).leaf


def stored(**changes: Any) -> StoredSet:
    """All files there, as published."""
    files = tuple(StoredFile(output=each, content=Secret(b"x")) for each in SPEC.outputs)
    whole = StoredSet(
        files=files,
        generation=GenerationId("g"),
        issued_at=NOW - timedelta(minutes=5),
        published_at=NOW - timedelta(minutes=4),
    )
    return replace(whole, **changes)


def look(**changes: Any) -> Look:
    """A certificate with which all is well."""
    good = Look(
        spec=SPEC,
        stored=stored(),
        leaf=leaf(),
        key=leaf().public_key,
        unreadable="",
        chain_problem=None,
        now=NOW,
        slot=SLOT,
    )
    return replace(good, **changes)


def files(**changes: Any) -> StoredSet:
    """The first file differs."""
    whole = stored()
    return replace(whole, files=(replace(whole.files[0], **changes), *whole.files[1:]))


def found(seen: Look) -> list[tuple[Reason, str]]:
    """The reasons that hold, with their details."""
    assert {each.certificate for each in policy.findings(seen)} <= {"server"}
    return [(each.reason, each.detail) for each in policy.findings(seen)]


def test_what_is_as_it_should_be_has_no_finding() -> None:
    assert found(look()) == []


@pytest.mark.parametrize(
    ("seen", "reason", "detail"),
    [
        (
            look(stored=files(content=None), leaf=None, key=None),
            Reason.MISSING,
            "/pki/server.crt does not exist",
        ),
        (
            look(stored=files(content=None, problem="Permission denied"), leaf=None, key=None),
            Reason.UNREADABLE,
            "/pki/server.crt: Permission denied",
        ),
        (
            look(unreadable="there is no PEM block", leaf=None, key=None),
            Reason.UNREADABLE,
            "there is no PEM block",
        ),
        (
            look(key="00" * 32),
            Reason.KEY_MISMATCH,
            "the private key does not belong to the certificate",
        ),
        (look(chain_problem="unknown authority"), Reason.WRONG_ISSUER, "unknown authority"),
        (
            look(stored=files(drift="mode 0666")),
            Reason.DRIFTED,
            "/pki/server.crt: mode 0666",
        ),
        (look(forced=True), Reason.FORCED, "asked for"),
        (
            look(now=leaf().not_before - timedelta(seconds=1), slot=SLOT - timedelta(days=1)),
            Reason.UNREADABLE,
            f"it is not valid before {leaf().not_before:%Y-%m-%dT%H:%M:%SZ}",
        ),
        (
            look(now=renewal.expiring_at(leaf().not_before, leaf().not_after)),
            Reason.EXPIRING,
            f"it ends at {leaf().not_after:%Y-%m-%dT%H:%M:%SZ}",
        ),
        (
            look(stored=stored(issued_at=SLOT - timedelta(seconds=1))),
            Reason.DUE,
            "issued 2026-11-24T10:59:59Z, before the slot of 2026-11-24T11:00:00Z",
        ),
    ],
)
def test_each_reason_is_found_alone(seen: Look, reason: Reason, detail: str) -> None:
    assert found(seen) == [(reason, detail)]


def test_an_expired_leaf_is_expired_first_and_expiring_too() -> None:
    reasons = [reason for reason, _ in found(look(now=leaf().not_after))]
    assert reasons == [Reason.EXPIRED, Reason.EXPIRING]


CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"common_name": "new"}, "common name server.example -> new"),
    ({"organizations": ("o",)}, "organizations [] -> [o]"),
    ({"dns_names": ("localhost", "a")}, "DNS names [localhost] -> [a, localhost]"),
    ({"ip_addresses": (ip_address("::1"),)}, "IP addresses [127.0.0.1] -> [::1]"),
    ({"uris": ("spiffe://a",)}, "URIs [] -> [spiffe://a]"),
    ({"key": KeyAlgorithm.ED25519}, "key ecdsa-p256 -> ed25519"),
    (
        {"usages": (Usage.DIGITAL_SIGNATURE, Usage.CLIENT_AUTH)},
        "extended key usages [server auth] -> [client auth]",
    ),
    (
        {"usages": (Usage.DIGITAL_SIGNATURE, Usage.KEY_AGREEMENT, Usage.SERVER_AUTH)},
        "key usages [digital signature] -> [digital signature, key agreement]",
    ),
]


@pytest.mark.parametrize(("change", "detail"), CHANGES)
def test_a_changed_specification_names_what_changed(change: dict[str, Any], detail: str) -> None:
    assert found(look(spec=replace(SPEC, **change))) == [(Reason.SPEC_CHANGED, detail)]


def test_order_and_role_and_lifetime_are_no_change() -> None:
    spec: CertificateSpec = replace(
        SPEC,
        usages=tuple(reversed(SPEC.usages)),
        role="other",
        ttl=timedelta(days=30),
    )
    assert found(look(spec=spec)) == []


def test_a_specification_without_key_usages_leaves_them_to_the_role() -> None:
    assert found(look(spec=replace(SPEC, usages=(Usage.SERVER_AUTH,)))) == []


def test_a_file_we_did_not_publish_is_as_old_as_its_leaf() -> None:
    adopted = stored(issued_at=None, generation=None, published_at=None)
    assert found(look(stored=adopted, slot=leaf().not_before)) == []
    later = look(stored=adopted, slot=leaf().not_before + timedelta(seconds=1))
    assert [reason for reason, _ in found(later)] == [Reason.DUE]


def test_what_was_issued_in_the_slot_s_own_second_is_not_due() -> None:
    assert found(look(stored=stored(issued_at=SLOT))) == []


def test_backdating_by_the_issuer_does_not_make_it_due_again() -> None:
    backdated = replace(leaf(), not_before=SLOT - timedelta(minutes=5))
    assert found(look(leaf=backdated, stored=stored(issued_at=SLOT))) == []


@given(st.lists(st.sampled_from(list(Reason)), unique=True))
def test_the_order_of_the_checks_is_the_order_of_the_findings(wanted: list[Reason]) -> None:
    seen = look(
        stored=replace(
            files(drift="content") if Reason.DRIFTED in wanted else stored(),
            issued_at=SLOT - timedelta(1) if Reason.DUE in wanted else SLOT,
        ),
        key="00" if Reason.KEY_MISMATCH in wanted else leaf().public_key,
        chain_problem="unknown" if Reason.WRONG_ISSUER in wanted else None,
        forced=Reason.FORCED in wanted,
    )
    possible = {
        Reason.KEY_MISMATCH,
        Reason.WRONG_ISSUER,
        Reason.DUE,
        Reason.DRIFTED,
        Reason.FORCED,
    }
    reasons = [reason for reason, _ in found(seen)]
    rank = [reason for reason, _ in policy.CHECKS]
    assert set(reasons) == possible & set(wanted)
    assert reasons == sorted(reasons, key=rank.index)


def test_every_reason_is_checked_for_or_learned_from_the_process() -> None:
    assert {reason for reason, _ in policy.CHECKS} | {Reason.NOT_SERVED} == set(Reason)
    assert set(Reason) - {Reason.NOT_SERVED} == policy.REPLACING
    assert policy.BROKEN < policy.REPLACING
