"""A store in memory, held to the same contract as the real one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from certrotd.core import render, x509
from certrotd.core.errors import PublishRefused, PublishUncertain
from certrotd.core.model import GenerationId, Published, Secret, StoredFile, StoredSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from certrotd.core.errors import CertrotdError
    from certrotd.core.model import (
        CertificateName,
        CertificateSpec,
        Output,
        ParsedCertificate,
        Verified,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Generation:
    id: GenerationId
    files: Mapping[str, Secret]
    issued_at: datetime | None
    published_at: datetime | None
    fingerprint: str | None
    previous: GenerationId | None


@dataclass(slots=True)
class FakeStore:
    """Files are bytes by path; generations are values.

    `calls` records what was asked, as `("publish", "server")`. What is in `failures` is raised by
    the next publications, one each (after the switch if it is a PublishUncertain); a directory in
    `unwritable` is refused by preflight; `drift` is told of a path.
    """

    keep: int = 10
    files: dict[str, bytes] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    failures: list[CertrotdError] = field(default_factory=list)
    unwritable: set[str] = field(default_factory=set)
    problems: dict[str, str] = field(default_factory=dict)
    drift: dict[str, str] = field(default_factory=dict)
    _live: dict[CertificateName, _Generation] = field(default_factory=dict)
    _replaced: dict[CertificateName, list[GenerationId]] = field(default_factory=dict)
    _copies: dict[CertificateName, dict[GenerationId, _Generation]] = field(default_factory=dict)
    _count: int = 0

    def read(self, spec: CertificateSpec) -> StoredSet:
        """Return what is at the paths."""
        live = self._live.get(spec.name)
        return StoredSet(
            files=tuple(map(self._file, spec.outputs)),
            generation=live.id if live else None,
            issued_at=live.issued_at if live else None,
            published_at=live.published_at if live else None,
        )

    def preflight(self, specs: Iterable[CertificateSpec]) -> None:
        """Refuse what the test made unwritable."""
        names = tuple(specs)
        self.calls += [("preflight", spec.name) for spec in names]
        paths = {o.path.rpartition("/")[0] for spec in names for o in spec.outputs}
        if bad := sorted(paths & self.unwritable):
            lines = "\n".join(f"{path}: cannot be written" for path in bad)
            raise PublishRefused(lines, path=bad[0], hint="make it writable")

    def publish(self, verified: Verified, at: datetime) -> Published:
        """Switch to a new generation."""
        self.calls.append(("publish", verified.spec.name))
        files = {output.path: content for output, content in render.render(verified)}
        return self._put(verified.spec, files, verified.leaf, verified.issued_at, at)

    def restore(self, spec: CertificateSpec, generation: GenerationId, at: datetime) -> Published:
        """Switch to a copy."""
        self.calls.append(("restore", spec.name))
        copy = self._copies.get(spec.name, {}).get(generation)
        leaf = _leaf(spec, copy.files) if copy else None
        if copy is None or leaf is None:
            raise PublishRefused(f"{generation} is not kept", path=spec.outputs[0].path)
        return self._put(spec, copy.files, leaf, copy.issued_at, at)

    def retire(self, spec: CertificateSpec, before: datetime, *, prune: bool = True) -> int:
        """Forget replaced generations."""
        self.calls.append(("retire", spec.name))
        copies = self._copies.get(spec.name, {})
        for each in list(copies)[: -self.keep] if prune else ():
            del copies[each]
        live = self._live.get(spec.name)
        if live is None or (live.published_at is not None and live.published_at > before):
            return 0
        return len(self._replaced.pop(spec.name, []))

    def history(self, spec: CertificateSpec) -> tuple[GenerationId, ...]:
        """Return the copies that hold a pair."""
        copies = self._copies.get(spec.name, {})
        return tuple(name for name, each in copies.items() if each.fingerprint)

    def _put(
        self,
        spec: CertificateSpec,
        files: Mapping[str, Secret],
        leaf: ParsedCertificate,
        issued_at: datetime | None,
        at: datetime,
    ) -> Published:
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None and not isinstance(failure, PublishUncertain):
            raise failure
        previous = self._copy(spec, leaf.fingerprint, at)
        new = _Generation(
            id=self._next(at),
            files=files,
            issued_at=issued_at,
            published_at=at,
            fingerprint=leaf.fingerprint,
            previous=previous,
        )
        configured = {each.path for each in spec.outputs}
        for path in configured - files.keys():
            self.files.pop(path, None)
        self.files |= {p: each.reveal() for p, each in files.items() if p in configured}
        for path in configured:
            self.problems.pop(path, None)
            self.drift.pop(path, None)
        if old := self._live.get(spec.name):
            self._replaced.setdefault(spec.name, []).append(old.id)
        self._live[spec.name] = new
        if failure is not None:
            raise failure
        return Published(
            certificate=spec.name,
            generation=new.id,
            previous=previous,
            fingerprint=leaf.fingerprint,
            serial=leaf.serial,
            not_after=leaf.not_after,
            published_at=at,
        )

    def _copy(self, spec: CertificateSpec, fingerprint: str, at: datetime) -> GenerationId | None:
        """Keep a copy of what is there and return its id if it is a pair that works."""
        live = self._live.get(spec.name)
        if live and live.fingerprint == fingerprint:
            return live.previous
        there = {o.path: Secret(self.files[o.path]) for o in spec.outputs if o.path in self.files}
        if not there:
            return None
        if live is None:
            # Adoption: what was there before certrotd becomes a generation of its own.
            live = _Generation(
                id=self._next(at),
                files=there,
                issued_at=None,
                published_at=None,
                fingerprint=None,
                previous=None,
            )
            self._live[spec.name] = live
        leaf = _leaf(spec, there)
        found = leaf.fingerprint if leaf else None
        self._copies.setdefault(spec.name, {})[live.id] = replace(
            live, files=there, fingerprint=found
        )
        return live.id if leaf else None

    def _next(self, at: datetime) -> GenerationId:
        self._count += 1
        moment = at + timedelta(microseconds=self._count)
        return GenerationId(f"{self._count:06d}-{moment:%Y%m%dT%H%M%SZ}")

    def _file(self, output: Output) -> StoredFile:
        if problem := self.problems.get(output.path):
            return StoredFile(output=output, content=None, problem=problem)
        content = self.files.get(output.path)
        if content is None:
            return StoredFile(output=output, content=None)
        drift = self.drift.get(output.path, "")
        return StoredFile(output=output, content=Secret(content), drift=drift)


def _leaf(spec: CertificateSpec, files: Mapping[str, Secret]) -> ParsedCertificate | None:
    there = tuple(
        StoredFile(output=o, content=files[o.path]) for o in spec.outputs if o.path in files
    )
    try:
        held = render.identity(there)
        leaf = x509.parse_certificate(held.chain[0])
        if held.private_key is None and any(each.secret for each in spec.outputs):
            return None
        if held.private_key and x509.public_key_of(held.private_key) != leaf.public_key:
            return None
    except ValueError:
        return None
    return leaf
