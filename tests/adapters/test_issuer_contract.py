"""What every issuer does, the fake one included."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.ca import AuthorityIssuer, FileAuthority
from certrotd.adapters.clock import SystemClock
from certrotd.core import x509
from certrotd.core.errors import CertrotdError, IssuerRefused
from certrotd.core.model import Issued, SigningRequest
from certrotd.core.verify import verify
from tests.adapters.vaultlab import VaultLab
from tests.factories import SKEW, Lab, make_request, make_spec
from tests.fakes.issuer import FakeIssuer

if TYPE_CHECKING:
    from pathlib import Path

    from certrotd.core.model import CertificateSpec, Verified
    from certrotd.ports import Issuer


@dataclass
class Subject:
    """An issuer and the specification that it can fulfil."""

    issuer: Issuer
    spec: CertificateSpec

    def issue(self, spec: CertificateSpec | None = None) -> Verified:
        wanted = spec or self.spec
        key, request = make_request(wanted)
        answer = self.issuer.sign(request)
        now = SystemClock().now()
        issued = Issued(
            spec=wanted, private_key=x509.key_pem(key), chain=answer.chain, issued_at=now
        )
        return verify(issued, self.issuer.anchors(), now, SKEW)


@pytest.fixture(
    params=["fake", "memory", "files", pytest.param("vault", marks=pytest.mark.servers)]
)
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Subject:
    now = SystemClock().now
    lab = Lab(now(), intermediate=True)
    spec = make_spec(tmp_path)
    match request.param:
        case "fake":
            return Subject(FakeIssuer(lab, now), spec)
        case "memory":
            return Subject(AuthorityIssuer(*lab.signer, now, anchors=lab.anchors), spec)
        case "files":
            certificate, key = (tmp_path / f"ca.{kind}" for kind in ("crt", "key"))
            certificate.write_bytes(lab.signer[0])
            key.touch(mode=0o600)
            key.write_bytes(lab.signer[1].reveal())
            anchors = tmp_path / "anchors.pem"
            anchors.write_bytes(lab.certificate)
            issuer = FileAuthority(str(certificate), str(key), now, anchors_file=str(anchors))
            return Subject(issuer, spec)
        case _:
            vault = VaultLab(request.getfixturevalue("vault_server"), tmp_path)
            return Subject(vault.issuer(), vault.spec())


def test_what_is_signed_is_what_was_asked_for(subject: Subject) -> None:
    verified = subject.issue()
    assert verified.leaf.common_name == subject.spec.common_name


def test_the_answer_is_the_leaf_and_then_single_certificates(subject: Subject) -> None:
    _, request = make_request(subject.spec)
    answer = subject.issuer.sign(request)
    for pem in answer.chain:
        assert x509.split_pem(pem) == (pem,)
    leaf, *authorities = map(x509.parse_certificate, answer.chain)
    assert not leaf.is_ca
    assert authorities
    assert all(each.is_ca for each in authorities)
    assert answer.private_key is None
    assert answer.warnings == ()


def test_every_signature_is_another_certificate(subject: Subject) -> None:
    first, second = subject.issue().leaf, subject.issue().leaf
    assert first.serial != second.serial
    assert first.public_key != second.public_key


def test_the_same_request_may_be_signed_twice(subject: Subject) -> None:
    _, request = make_request(subject.spec)
    first, second = (x509.parse_certificate(subject.issuer.sign(request).chain[0]) for _ in "ab")
    assert first.public_key == second.public_key


def test_threads_get_the_certificates_of_their_own_keys(subject: Subject) -> None:
    specs = [replace(subject.spec, common_name=f"node-{number}") for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        names = [each.leaf.common_name for each in pool.map(subject.issue, specs)]
    assert names == [each.common_name for each in specs]


def test_all_kinds_of_names_are_signed(subject: Subject) -> None:
    spec = replace(
        subject.spec,
        dns_names=("a.example", "b.example"),
        ip_addresses=(ip_address("10.0.0.1"), ip_address("fd00::1")),
    )
    assert subject.issue(spec).leaf.dns_names == spec.dns_names


def test_an_answer_carries_no_anchor_of_its_own(subject: Subject) -> None:
    before = subject.issuer.anchors()
    subject.issue()
    assert subject.issuer.anchors() == before
    assert [x509.split_pem(each) for each in before] == [(each,) for each in before]


def test_the_clock_is_near_or_unknown(subject: Subject) -> None:
    time = subject.issuer.time()
    assert time is None or abs(time - SystemClock().now()) < timedelta(seconds=5)


@pytest.mark.parametrize("csr", [b"", b"rubbish", b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n"])
def test_what_is_no_csr_is_refused(subject: Subject, csr: bytes) -> None:
    with pytest.raises(IssuerRefused):
        subject.issuer.sign(SigningRequest(spec=subject.spec, csr_pem=csr))


def test_a_life_beyond_the_authoritys_is_refused_or_cut(subject: Subject) -> None:
    with pytest.raises(CertrotdError):
        subject.issue(replace(subject.spec, ttl=timedelta(days=36500)))
