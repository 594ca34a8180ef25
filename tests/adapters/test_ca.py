from __future__ import annotations

import ssl
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest
from cryptography import x509 as cx
from cryptography.hazmat.primitives import serialization

from certrotd.adapters.ca import AuthorityIssuer, FileAuthority, create_authority
from certrotd.adapters.clock import SystemClock
from certrotd.core import x509
from certrotd.core.errors import IssuerRefused
from certrotd.core.model import Issued, KeyAlgorithm, Secret, SigningRequest
from certrotd.core.verify import verify
from tests.authorities import Authority, Flaws, key_usage
from tests.factories import NOW, SKEW, Lab, make_request, make_spec

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

Side: TypeAlias = "Callable[[ssl.MemoryBIO, ssl.MemoryBIO], ssl.SSLObject]"

DAY = timedelta(days=1)
HERE = Path("/etc/pki")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A CA on disk."""
    lab = Lab()
    certificate, key = tmp_path / "ca.crt", tmp_path / "ca.key"
    certificate.write_bytes(lab.certificate)
    key.touch(mode=0o600)
    key.write_bytes(lab.key.reveal())
    return certificate, key


def authority(files: tuple[Path, Path], **more: str) -> FileAuthority:
    return FileAuthority(str(files[0]), str(files[1]), lambda: NOW, **more)


def csr() -> SigningRequest:
    return make_request(make_spec(HERE))[1]


# In memory


@pytest.mark.parametrize("algorithm", [a for a in KeyAlgorithm if a != KeyAlgorithm.RSA_3072])
def test_an_authority_of_every_algorithm_signs(algorithm: KeyAlgorithm) -> None:
    certificate, key = create_authority("made", NOW, DAY * 30, algorithm)
    assert x509.parse_certificate(certificate).is_ca
    issuer = AuthorityIssuer(certificate, key, lambda: NOW)
    leaf = issuer.sign(csr()).chain[0]
    assert x509.chain_problem((leaf,), issuer.anchors(), NOW) is None


def test_serials_have_exactly_128_bits() -> None:
    lab = Lab()
    leaves = [lab.issue(make_spec(HERE)).leaf for _ in range(20)]
    assert {int(each.serial, 16).bit_length() for each in leaves} == {128}
    assert len({each.serial for each in leaves}) == 20


def test_a_leaf_does_not_begin_before_its_authority() -> None:
    certificate, key = create_authority("made", NOW, DAY * 30)
    began = x509.parse_certificate(certificate).not_before
    issuer = AuthorityIssuer(certificate, key, lambda: began)
    assert x509.parse_certificate(issuer.sign(csr()).chain[0]).not_before == began


def test_of_the_csr_only_the_key_is_used() -> None:
    lab, spec = Lab(), make_spec(HERE)
    key, request = make_request(replace(spec, common_name="evil", dns_names=("evil",)))
    answer = lab.issuer().sign(SigningRequest(spec=spec, csr_pem=request.csr_pem))
    leaf = x509.parse_certificate(answer.chain[0])
    assert (leaf.common_name, leaf.dns_names) == (spec.common_name, spec.dns_names)
    assert x509.owns(x509.key_pem(key), answer.chain[0])


def point_of(request: cx.CertificateSigningRequest) -> bytes:
    return request.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def test_a_csr_of_somebody_elses_key_is_refused() -> None:
    request = csr()
    mine, theirs = (cx.load_pem_x509_csr(each.csr_pem) for each in (csr(), request))
    der = theirs.public_bytes(serialization.Encoding.DER)
    forged = cx.load_der_x509_csr(der.replace(point_of(theirs), point_of(mine)))
    pem = forged.public_bytes(serialization.Encoding.PEM)
    with pytest.raises(IssuerRefused, match="not signed by its own key"):
        Lab().issuer().sign(replace(request, csr_pem=pem))


@pytest.mark.parametrize(
    ("at", "problem"),
    [
        (NOW - DAY, "is not valid before"),
        (NOW + 24 * DAY, "ends at 2026-12-24 12:00 UTC, before server would"),
        (NOW + 40 * DAY, "ends at"),
    ],
)
def test_an_authority_that_does_not_outlive_the_leaf_refuses(at: datetime, problem: str) -> None:
    certificate, key = create_authority("made", NOW, DAY * 30)
    issuer = AuthorityIssuer(certificate, key, lambda: at)
    with pytest.raises(IssuerRefused, match=problem):
        issuer.sign(csr())


def test_a_leaf_that_ends_with_its_authority_is_signed() -> None:
    certificate, key = create_authority("made", NOW, DAY * 30)
    AuthorityIssuer(certificate, key, lambda: NOW + 23 * DAY).sign(csr())


def test_what_is_no_authority_is_refused_at_once() -> None:
    root = Authority.root("root", NOW)
    leaf_key = x509.new_key(KeyAlgorithm.ECDSA_P256)
    leaf = root.issue_leaf("leaf", NOW, key=leaf_key)
    mute = root.issue_authority("mute", NOW, Flaws(usage=key_usage("crl_sign")))
    for certificate, key, problem in (
        (leaf, x509.key_pem(leaf_key), "not the certificate of a CA"),
        (mute.pem, mute.secret, "not the certificate of a CA"),
        (root.pem, mute.secret, "does not belong"),
        (root.pem, Secret(b"rubbish"), "private key"),
        (b"rubbish", root.secret, "no PEM certificate"),
    ):
        with pytest.raises(ValueError, match=problem):
            AuthorityIssuer(certificate, key, lambda: NOW)


def test_a_leaf_of_an_intermediate_comes_with_its_whole_chain() -> None:
    root = Authority.root("root", NOW)
    middle = root.issue_authority("middle", NOW)
    issuer = AuthorityIssuer(middle.pem + root.pem, middle.secret, lambda: NOW, anchors=(root.pem,))
    leaf, *rest = issuer.sign(csr()).chain
    assert rest == [middle.pem, root.pem]
    assert x509.build_path((leaf, *rest), issuer.anchors(), NOW) == (leaf, middle.pem, root.pem)


def test_an_authority_with_an_odd_key_identifier_is_repeated_as_it_is() -> None:
    identifier = cx.SubjectKeyIdentifier(b"\x01\x02\x03")
    root = Authority.root("root", NOW, Flaws(extra=((identifier, False),)))
    issuer = AuthorityIssuer(root.pem, root.secret, lambda: NOW)
    leaf = cx.load_pem_x509_certificate(issuer.sign(csr()).chain[0])
    found = leaf.extensions.get_extension_for_class(cx.AuthorityKeyIdentifier)
    assert found.value.key_identifier == b"\x01\x02\x03"


def test_openssl_in_strict_mode_accepts_what_is_signed(tmp_path: Path) -> None:
    lab = Lab(SystemClock().now())
    verified = lab.issue(make_spec(tmp_path))
    (tmp_path / "pair").write_bytes(b"".join(verified.chain) + verified.private_key.reveal())
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "pair")
    client = ssl.create_default_context(cadata=b"".join(lab.anchors).decode())
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    shake_hands(
        lambda to, come: client.wrap_bio(come, to, server_hostname="localhost"),
        lambda to, come: server.wrap_bio(come, to, server_side=True),
    )


def shake_hands(client: Side, server: Side) -> None:
    """Do a whole TLS handshake in memory; whoever does not like the other raises."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    open_ends = [client(up, down), server(down, up)]
    while open_ends:
        each = open_ends.pop(0)
        try:
            each.do_handshake()
        except ssl.SSLWantReadError:
            open_ends.append(each)


# On disk


def test_files_are_read_when_something_is_signed_and_not_before(
    files: tuple[Path, Path],
) -> None:
    issuer = authority(files)
    another = Lab(common_name="another")
    files[0].write_bytes(another.certificate)
    files[1].write_bytes(another.key.reveal())
    assert issuer.anchors() == another.anchors
    leaf = issuer.sign(csr()).chain[0]
    assert x509.chain_problem((leaf,), another.anchors, NOW) is None


def test_anchors_can_be_pinned_by_a_file_of_their_own(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    old, new = Lab(common_name="old"), Lab(common_name="new")
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(b"# old and new\n" + old.certificate + new.certificate)
    pinned = authority(files, anchors_file=str(bundle))
    assert pinned.anchors() == (old.certificate, new.certificate)
    assert pinned.time() is None


def missing(path: Path) -> None:
    path.unlink()


def rubbish(path: Path) -> None:
    path.write_text("rubbish")


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [missing, rubbish, a_directory])
@pytest.mark.parametrize("which", [0, 1])
def test_damaged_files_are_named(
    files: tuple[Path, Path], which: int, damage: Callable[[Path], None]
) -> None:
    damage(files[which])
    with pytest.raises(IssuerRefused) as caught:
        authority(files).sign(csr())
    assert str(files[which]) in str(caught.value)
    assert caught.value.hint
    if which == 0:
        with pytest.raises(IssuerRefused, match=str(files[0])):
            authority(files).anchors()


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o644, 0o666])
def test_a_key_that_is_open_to_everybody_is_refused(files: tuple[Path, Path], mode: int) -> None:
    files[1].chmod(mode)
    with pytest.raises(IssuerRefused, match="open to everybody") as caught:
        authority(files).sign(csr())
    assert f"chmod 0600 {files[1]}" in caught.value.hint


def test_a_key_of_another_authority_is_refused(files: tuple[Path, Path]) -> None:
    files[1].write_bytes(Lab().key.reveal())
    with pytest.raises(IssuerRefused, match="does not belong"):
        authority(files).sign(csr())


def test_the_published_anchor_is_the_pinned_one(files: tuple[Path, Path]) -> None:
    issuer = authority(files)
    key, request = make_request(make_spec(HERE))
    issued = Issued(
        spec=request.spec,
        private_key=x509.key_pem(key),
        chain=issuer.sign(request).chain,
        issued_at=NOW,
    )
    assert verify(issued, issuer.anchors(), NOW, SKEW).anchors == (files[0].read_bytes(),)
