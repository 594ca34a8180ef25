"""When a kubelet's certificate is asked for, how often, and whether the answer will do."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.core import kubelets, x509
from certrotd.core.errors import Rejected
from certrotd.core.kubelets import Cause, Held, Record, Wanted
from certrotd.core.model import KeyAlgorithm, SigningRequest, Usage
from certrotd.core.model.kubelets import Purpose
from tests.factories import NOW, Lab, lab

if TYPE_CHECKING:
    from certrotd.core.kubelets import Attempt
    from certrotd.core.model import CertificateSpec

CLIENT = Wanted(node="node-1", purpose=Purpose.CLIENT)
SERVING = Wanted(
    node="node-1",
    purpose=Purpose.SERVING,
    dns_names=("node-1", "node-1.example"),
    ip_addresses=(ip_address("10.0.0.11"),),
)
DAY = timedelta(days=1)
MONTH = timedelta(days=30)


def signed(
    wanted: Wanted, attempt: Attempt, *, ttl: timedelta = MONTH, **changes: Any
) -> tuple[bytes, ...]:
    """What an honest signer answers, or one that changes something."""
    spec: CertificateSpec = replace(kubelets.specification(wanted, ttl), **changes)
    return lab().issuer().sign(SigningRequest(spec=spec, csr_pem=attempt.request)).chain


def held(wanted: Wanted, *, ttl: timedelta = MONTH) -> Held:
    """A good pair in the store, made NOW."""
    attempt = kubelets.begin(wanted, Cause.MISSING, NOW)
    leaf = x509.parse_certificate(signed(wanted, attempt, ttl=ttl)[0])
    return Held(path="/pki/current.pem", leaf=leaf, key=leaf.public_key)


def cause(wanted: Wanted, found: Held, after: timedelta, *, asked: bool = False) -> Cause | None:
    why = kubelets.cause(wanted, found, NOW + after, asked=asked)
    return why[0] if why else None


@pytest.mark.parametrize(
    ("found", "after", "expected"),
    [
        (held(CLIENT), DAY, None),
        (held(CLIENT), 0.91 * MONTH, None),
        (held(CLIENT), 0.93 * MONTH, Cause.ENDING),
        (held(CLIENT), MONTH, Cause.EXPIRED),
        (Held(path="/x"), DAY, Cause.MISSING),
        (Held(path="/x", problem="is torn"), DAY, Cause.UNREADABLE),
        (replace(held(CLIENT), key="00"), DAY, Cause.KEY_MISMATCH),
        (held(replace(CLIENT, node="other")), DAY, Cause.NAMES_CHANGED),
    ],
)
def test_a_client_certificate_is_asked_for(
    found: Held, after: timedelta, expected: Cause | None
) -> None:
    assert cause(CLIENT, found, after) is expected


def test_the_kubelet_itself_is_given_the_time_it_takes() -> None:
    """It replaces at 70 to 90 %; the net is below that for every lifetime."""
    for hours in (1, 24, 24 * 365):
        ttl = timedelta(hours=hours)
        assert cause(CLIENT, held(CLIENT, ttl=ttl), 0.9 * ttl) is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"dns_names": ("NODE-1",)}, None),  # more names than wanted do no harm
        ({"dns_names": ("node-1", "node-2")}, Cause.NAMES_CHANGED),
        ({"ip_addresses": (ip_address("10.0.0.12"),)}, Cause.NAMES_CHANGED),
    ],
)
def test_a_serving_certificate_follows_the_names(
    changes: dict[str, Any], expected: Cause | None
) -> None:
    assert cause(replace(SERVING, **changes), held(SERVING), DAY) is expected


def test_what_is_good_is_replaced_only_if_asked() -> None:
    assert cause(CLIENT, held(CLIENT), DAY, asked=True) is Cause.ASKED


@given(st.lists(st.integers(0, 300), max_size=400))
def test_a_cluster_that_never_answers_sees_a_few_requests_an_hour(minutes: list[int]) -> None:
    """Whenever somebody looks: at most five in any hour, and then one every 30 minutes."""
    made: tuple[datetime, ...] = ()
    for minute in sorted(minutes):
        now = NOW + timedelta(minutes=minute)
        due = kubelets.next_request(Record(requests=made).recent(now))
        if due is None or now >= due:
            made = (*made, now)
    for each in made:
        assert sum(each <= other < each + timedelta(hours=1) for other in made) <= 5
    pairs = itertools.pairwise(made[len(kubelets.PAUSES) - 1 :])
    assert all(after - before >= kubelets.PAUSES[-1] for before, after in pairs)


def test_requests_are_forgotten_after_hours_and_those_of_the_future_at_once() -> None:
    record = Record(requests=(NOW - timedelta(hours=7), NOW - DAY / 24, NOW + DAY))
    assert record.recent(NOW) == (NOW - DAY / 24,)


@pytest.mark.parametrize("key", [KeyAlgorithm.ECDSA_P256, KeyAlgorithm.RSA_2048])
@pytest.mark.parametrize("wanted", [CLIENT, SERVING])
def test_what_was_asked_for_is_good(wanted: Wanted, key: KeyAlgorithm) -> None:
    wanted = replace(wanted, key=key)
    attempt = kubelets.begin(wanted, Cause.MISSING, NOW)
    assert kubelets.fits(wanted, attempt.request)
    leaf, _ = kubelets.checked(
        wanted, attempt.private_key, signed(wanted, attempt), lab().anchors, NOW
    )
    assert leaf.common_name == "system:node:node-1"
    assert attempt.name.endswith(leaf.public_key[:32])


def test_a_request_for_other_names_does_not_fit() -> None:
    request = kubelets.begin(SERVING, Cause.MISSING, NOW).request
    assert kubelets.fits(SERVING, request)
    assert not kubelets.fits(replace(SERVING, node="node-2"), request)
    assert not kubelets.fits(replace(SERVING, dns_names=("node-1",)), request)
    assert not kubelets.fits(replace(SERVING, ip_addresses=(ip_address("10.0.0.1"),)), request)
    assert not kubelets.fits(replace(SERVING, key=KeyAlgorithm.RSA_2048), request)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"common_name": "system:node:node-2"}, "common name"),
        ({"organizations": ("system:nodes", "system:masters")}, "organizations"),
        ({"dns_names": ("node-1", "node-1.example", "more")}, "DNS names"),
        ({"ip_addresses": ()}, "IP addresses"),
        ({"usages": (Usage.DIGITAL_SIGNATURE, Usage.CLIENT_AUTH)}, "extended key usages"),
    ],
)
def test_a_signer_that_gives_something_else_is_not_believed(
    changes: dict[str, Any], field: str
) -> None:
    attempt = kubelets.begin(SERVING, Cause.MISSING, NOW)
    with pytest.raises(Rejected) as caught:
        kubelets.checked(
            SERVING, attempt.private_key, signed(SERVING, attempt, **changes), lab().anchors, NOW
        )
    assert field in [each.field for each in caught.value.mismatches]


def test_a_certificate_for_another_key_or_of_another_ca_or_ended_is_not_believed() -> None:
    attempt, other = (kubelets.begin(CLIENT, Cause.MISSING, NOW) for _ in range(2))
    good = signed(CLIENT, attempt)
    stranger = lab().anchors[0]
    cases = (
        (other.private_key, good, lab().anchors, NOW, "public key"),
        (attempt.private_key, good, (), NOW, "chain"),
        (attempt.private_key, good, lab().anchors, NOW + 2 * MONTH, "not after"),
        (attempt.private_key, (), lab().anchors, NOW, "answer"),
        (attempt.private_key, (b"nonsense",), lab().anchors, NOW, "answer"),
        (attempt.private_key, (stranger,), lab().anchors, NOW, "basic constraints"),
    )
    for key, chain, anchors, now, field in cases:
        with pytest.raises(Rejected) as caught:
            kubelets.checked(CLIENT, key, chain, anchors, now)
        assert field in [each.field for each in caught.value.mismatches]


def test_a_signers_clock_may_be_a_little_ahead() -> None:
    attempt = kubelets.begin(CLIENT, Cause.MISSING, NOW)
    good = signed(CLIENT, attempt)
    begins = x509.parse_certificate(good[0]).not_before
    kubelets.checked(CLIENT, attempt.private_key, good, lab().anchors, begins - kubelets.AHEAD)
    early = begins - kubelets.AHEAD - timedelta(seconds=1)
    with pytest.raises(Rejected, match="not before: expected at most"):
        kubelets.checked(CLIENT, attempt.private_key, good, lab().anchors, early)


def test_of_a_chain_only_what_leads_to_an_anchor_is_taken() -> None:
    site, stranger = Lab(intermediate=True), Lab().anchors[0]
    attempt = kubelets.begin(CLIENT, Cause.MISSING, NOW)
    spec = kubelets.specification(CLIENT, MONTH)
    leaf, *above = site.issuer().sign(SigningRequest(spec=spec, csr_pem=attempt.request)).chain
    answer = (leaf, stranger, *above, *above)
    _, chain = kubelets.checked(CLIENT, attempt.private_key, answer, site.anchors, NOW)
    assert chain == (leaf, *above)


def test_a_signer_may_give_a_shorter_life_than_asked_for_but_not_a_much_longer_one() -> None:
    wanted = replace(CLIENT, lifetime=DAY)
    attempt = kubelets.begin(wanted, Cause.MISSING, NOW)
    for ttl in (DAY / 2, DAY):
        chain = signed(wanted, attempt, ttl=ttl)
        kubelets.checked(wanted, attempt.private_key, chain, lab().anchors, NOW)
    with pytest.raises(Rejected, match="time to live"):
        kubelets.checked(
            wanted, attempt.private_key, signed(wanted, attempt, ttl=2 * DAY), lab().anchors, NOW
        )


@given(st.sampled_from(Purpose), st.datetimes(datetime(2020, 1, 1), datetime(2099, 1, 1)))  # noqa: DTZ001
def test_names_in_the_store_are_the_kubelets_own(purpose: Purpose, at: datetime) -> None:
    name = kubelets.file_name(purpose, at)
    assert kubelets.is_pair(purpose, name)
    assert not kubelets.is_pair(purpose, kubelets.current_name(purpose))
    other = Purpose.CLIENT if purpose is Purpose.SERVING else Purpose.SERVING
    assert not kubelets.is_pair(other, name)


def test_the_kubeconfig_names_the_link() -> None:
    text = kubelets.kubeconfig("node-1", "/pki/current.pem", "https://api:6443", "/ca.crt").decode()
    assert 'client-certificate: "/pki/current.pem"' in text
    assert 'client-key: "/pki/current.pem"' in text
    assert 'certificate-authority: "/ca.crt"' in text
