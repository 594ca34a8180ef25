"""Files of one row, written as certrotd writes them: one rename, later the old ones unlinked."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certrotd.adapters.clock import SystemClock
from certrotd.adapters.store import GenerationStore
from certrotd.core.model import Output, OutputKind, Secret
from tests.factories import SERVER, Lab, make_client_spec, make_spec
from tests.testbed.throwaway import Pair, ThrowawayCA, key_pem

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from certrotd.core.model import CertificateSpec, Verified

GRACE = 2.0
"""Seconds between the rename and the unlinking: certrotd's own default."""
LIFE = timedelta(hours=6)
CLOCK = SystemClock()


def authority(name: str) -> Lab:
    """A new CA that signs from now on."""
    return Lab(CLOCK.now(), common_name=name)


def adopted(ca: ThrowawayCA) -> Lab:
    """The same CA, as one that certrotd's own issuer signs with."""
    lab = authority(ca.certificate.subject.rfc4514_string())
    lab.certificate, lab.key = ca.pem, Secret(key_pem(ca.key))
    lab.anchors, lab.signer = (lab.certificate,), (lab.certificate, lab.key)
    return lab


def server_spec(directory: Path, name: str, **changes: Any) -> CertificateSpec:
    """A serving pair for loopback."""
    return make_spec(directory, name, **({"ttl": LIFE, "usages": SERVER} | changes))


def client_spec(directory: Path, name: str, **changes: Any) -> CertificateSpec:
    """A client's pair."""
    return make_client_spec(directory, name, **({"ttl": LIFE} | changes))


def ca_outputs(directory: Path, name: str) -> tuple[Output, ...]:
    """A CA bundle alone."""
    return (Output(path=str(directory / f"{name}.crt"), kind=OutputKind.CA, mode=0o644),)


@dataclass(frozen=True, slots=True)
class Edition:
    """What was published at one time, and the newest CA in it."""

    verified: Verified
    authority: Lab

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the leaf, hex."""
        return self.verified.leaf.fingerprint


@dataclass(frozen=True, slots=True)
class Publication:
    """When the rename happened; `retired` says when the replaced files were unlinked (Unix)."""

    renamed_at: float
    retired: Future[float]


class Material:
    """One certificate's outputs in a store of their own.

    Args:
        spec: Its outputs; for a CA bundle the leaf is made as well and goes nowhere.
        make: Gives the next edition, from the one before (None: the first).
    """

    def __init__(self, spec: CertificateSpec, make: Callable[[Edition | None], Edition]) -> None:
        self.spec = spec
        self._make = make
        home = Path(spec.outputs[0].path).parent
        home.mkdir(parents=True, exist_ok=True)
        self._live = home / ".certrotd" / "live" / spec.name
        self._store = GenerationStore(str(home / "history"), keep=2)
        self._later = ThreadPoolExecutor(1)
        self.edition = make(None)
        self._publish()

    def path(self, kind: OutputKind = OutputKind.CERTIFICATE) -> str:
        """Where the output of a kind lies."""
        return next(each.path for each in self.spec.outputs if each.kind is kind)

    def renew(self) -> Publication:
        """Publish the next edition; what it replaces is unlinked after the grace."""
        self.edition = self._make(self.edition)
        return self._publish()

    def _publish(self) -> Publication:
        self._store.publish(self.edition.verified, CLOCK.now())
        # A rename sets the time of change of what gets the name.
        renamed = self._live.lstat().st_ctime
        return Publication(renamed, self._later.submit(self._retire))

    def _retire(self) -> float:
        time.sleep(GRACE)
        at = time.time()
        self._store.retire(self.spec, CLOCK.now() - timedelta(seconds=GRACE))
        return at


def leaf(spec: CertificateSpec, lab: Lab) -> Material:
    """A pair that gets a new leaf from the same CA each time."""
    return Material(spec, lambda _: Edition(lab.issue(spec, CLOCK.now()), lab))


def bundle(directory: Path, name: str, first: Lab) -> Material:
    """A CA file that gets one more CA each time; the newest comes last."""
    spec = client_spec(directory, name, outputs=ca_outputs(directory, name))

    def make(before: Edition | None) -> Edition:
        lab = authority(f"{name} {time.time_ns()}") if before else first
        anchors = (*(before.verified.anchors if before else ()), *lab.anchors)
        return Edition(replace(lab.issue(spec, CLOCK.now()), anchors=anchors), lab)

    return Material(spec, make)


def write_pair(edition: Lab, spec: CertificateSpec) -> tuple[str, str]:
    """Sign a pair for an observer and put it where `spec` says, without a store."""
    verified = edition.issue(spec, CLOCK.now())
    certificate, key = (Path(each.path) for each in spec.outputs[:2])
    Pair(b"".join(verified.chain), verified.private_key.reveal()).write(certificate, key)
    return str(certificate), str(key)
