"""Whether a leaf builds to a pinned trust anchor at a given time, and through which certificates.

The path is built here (RFC 5280 section 6.1) and not by `cryptography.x509.verification`: that
one forbids Ed25519 authorities without a switch, and checks web-PKI rules for names that
control-plane identities do not keep. What a path must hold is what Go's verifier, which the
components use, insists on: names chain, signatures verify, every certificate is valid now,
authorities are marked as such with their path length, and name constraints hold. An anchor may be
an intermediate: the path ends at the first pinned certificate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization

from certrotd.core.x509.certificates import extension, load

if TYPE_CHECKING:
    from datetime import datetime

_WEAK_DIGESTS = (hashes.MD5, hashes.SHA1)
_UNDERSTOOD = (
    x509.BasicConstraints,
    x509.KeyUsage,
    x509.ExtendedKeyUsage,
    x509.NameConstraints,
    x509.SubjectAlternativeName,
    x509.CertificatePolicies,
)
_CONSTRAINED = (x509.DNSName, x509.IPAddress, x509.UniformResourceIdentifier, x509.RFC822Name)
_DEPTH = 8
"""No control plane has more authorities above a leaf; it bounds the search."""
_CHECKS = 100
"""So many signatures may be looked at: authorities that all sign one another have endless paths.
Go's verifier has the same bound."""


def chain_problem(chain: tuple[bytes, ...], anchors: tuple[bytes, ...], at: datetime) -> str | None:
    """Say why `chain[0]` does not build through the rest to one of `anchors`, or None."""
    try:
        build_path(chain, anchors, at)
    except ValueError as e:
        return str(e)
    return None


def build_path(
    chain: tuple[bytes, ...], anchors: tuple[bytes, ...], at: datetime
) -> tuple[bytes, ...]:
    """Return the path from `chain[0]` up to and including the anchor it ends at, PEM.

    The order of `chain[1:]` does not matter.

    Raises:
        ValueError: there is no such path; the text names the certificate and the cause.
    """
    if not chain:
        raise ValueError("there is no certificate")
    search = _Search(tuple(map(load, anchors)), tuple(map(load, chain[1:])), at)
    path = search.extend((load(chain[0]),))
    if not path:
        raise ValueError(search.problem)
    return tuple(each.public_bytes(serialization.Encoding.PEM) for each in path)


class _Search:
    """Depth-first search for a path; `problem` keeps the obstacle met on the longest try."""

    def __init__(
        self,
        anchors: tuple[x509.Certificate, ...],
        others: tuple[x509.Certificate, ...],
        at: datetime,
    ) -> None:
        self._anchors = anchors
        self._others = tuple(each for each in others if each not in anchors)
        self._at = at
        self._length = 0
        self._checks = 0
        self.problem = ""

    def extend(self, path: tuple[x509.Certificate, ...]) -> tuple[x509.Certificate, ...]:
        """Return a whole path that begins with `path`, or nothing."""
        last = path[-1]
        if len(path) == 1 and (obstacle := _unusable(last, self._at)):
            self._stuck(path, f"{_name(last)} {obstacle}")
            return ()
        known = [each for each in (*self._anchors, *self._others) if each.subject == last.issuer]
        if not known or len(path) > _DEPTH:
            foreign = last.issuer.rfc4514_string()
            self._stuck(
                path, f"{_name(last)} was issued by {foreign}, which is no pinned trust anchor"
            )
            return ()
        for issuer in known:
            longer = (*path, issuer)
            self._checks += 1
            if self._checks > _CHECKS:
                self.problem = f"no path was found in {_CHECKS} steps"
                return ()
            if obstacle := _not_issued(path, issuer, self._at):
                self._stuck(longer, f"{_name(last)} {obstacle}")
            elif issuer in self._anchors:
                return longer
            elif issuer == last:
                self._stuck(longer, f"{_name(last)} signed itself and is no pinned trust anchor")
            elif any(_same_authority(issuer, each) for each in path):
                self._stuck(longer, f"{_name(last)} leads round in a circle")
            elif found := self.extend(longer):
                return found
        return ()

    def _stuck(self, path: tuple[x509.Certificate, ...], problem: str) -> None:
        if len(path) > self._length:
            self._length, self.problem = len(path), problem


def _same_authority(one: x509.Certificate, other: x509.Certificate) -> bool:
    """Whether two certificates are of one name and key, perhaps cross-signed or renewed."""
    return one.subject == other.subject and one.public_key() == other.public_key()


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or f"serial {certificate.serial_number:x}"


def _unusable(certificate: x509.Certificate, at: datetime) -> str | None:
    """Say what keeps a certificate from being part of any path."""
    if at < certificate.not_valid_before_utc:
        return f"is not valid before {certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}"
    if at > certificate.not_valid_after_utc:
        return f"expired at {certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
    for each in certificate.extensions:
        if each.critical and not isinstance(each.value, _UNDERSTOOD):
            return f"has the critical extension {each.oid.dotted_string}, which is not understood"
    return None


def _not_issued(
    path: tuple[x509.Certificate, ...], issuer: x509.Certificate, at: datetime
) -> str | None:
    """Say why the last certificate of `path` cannot have been issued by `issuer`."""
    name = _name(issuer)
    if obstacle := _unusable(issuer, at):
        return f"was issued by {name}, which {obstacle}"
    if obstacle := _no_authority(issuer, len(path) - 1):
        return f"was issued by {name}, which {obstacle}"
    if isinstance(path[-1].signature_hash_algorithm, _WEAK_DIGESTS):
        return f"is signed with {path[-1].signature_hash_algorithm.name}, which is broken"
    try:
        path[-1].verify_directly_issued_by(issuer)
    except InvalidSignature:
        return f"is not signed by {name}: the signature does not verify"
    except (ValueError, TypeError, UnsupportedAlgorithm) as e:
        return f"is not signed by {name}: {e}"
    return _outside(path[0], issuer)


def _no_authority(issuer: x509.Certificate, below: int) -> str | None:
    """Say why a certificate may not sign, with `below` authorities between it and the leaf."""
    constraints = extension(issuer, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        return "is no certificate authority"
    if constraints.path_length is not None and constraints.path_length < below:
        return f"allows only {constraints.path_length} authorities below it"
    usage = extension(issuer, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        return "may not sign certificates (key usage)"
    return None


def _outside(leaf: x509.Certificate, issuer: x509.Certificate) -> str | None:
    """Say which name of the leaf breaks the issuer's name constraints (RFC 5280 4.2.1.10)."""
    constraints = extension(issuer, x509.NameConstraints)
    if constraints is None:
        return None
    permits, excludes = constraints.permitted_subtrees or (), constraints.excluded_subtrees or ()
    if not all(isinstance(tree, _CONSTRAINED) for tree in (*permits, *excludes)):
        return f"was issued by {_name(issuer)}, whose name constraints are not understood"
    for name in extension(leaf, x509.SubjectAlternativeName) or ():
        permitted = [tree for tree in permits if type(tree) is type(name)]
        excluded = [tree for tree in excludes if type(tree) is type(name)]
        outside = permitted and not any(_within(name, tree) for tree in permitted)
        if outside or any(_within(name, tree) for tree in excluded):
            return f"has the name {name.value}, which {_name(issuer)} may not sign"
    return None


def _within(name: x509.GeneralName, tree: x509.GeneralName) -> bool:
    if isinstance(name, x509.IPAddress) and isinstance(tree, x509.IPAddress):
        return name.value in tree.value  # type: ignore[operator]  # a constraint is a network
    host, zone = str(name.value).lower(), str(tree.value).lower()
    if isinstance(name, x509.UniformResourceIdentifier):
        host = host.partition("://")[2].partition("/")[0].partition(":")[0]
        return host == zone or (zone.startswith(".") and host.endswith(zone))
    return host == zone or host.endswith("." + zone.removeprefix(".")) or not zone
