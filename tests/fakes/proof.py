"""A process that uses whatever the test says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certrotd.core.model import CertificateName, Evidence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from certrotd.core.model import Expectation


class FakeProof:
    """Compares what is expected with `serving`, the fingerprint and serial in use.

    With `reloads` it takes up what is expected at the next look, as a process that watches its
    files; with `up` False there is nothing to look at. `adopt` is what a restart does.
    """

    def __init__(self, certificate: str = "server", *, reloads: bool = False) -> None:
        self.certificate = CertificateName(certificate)
        self.reloads = reloads
        self.up = True
        self.serving: tuple[str, str] | None = None
        self.looks: list[Mapping[CertificateName, Expectation]] = []

    def adopt(self, expectation: Expectation) -> None:
        self.serving = (expectation.fingerprint, expectation.serial)

    def check(self, expected: Mapping[CertificateName, Expectation]) -> Evidence:
        self.looks.append(expected)
        if not self.up:
            return self._evidence("connection refused", reachable=False)
        wanted = expected.get(self.certificate)
        if self.reloads and wanted is not None:
            self.adopt(wanted)
        fingerprint, serial = self.serving or ("", None)
        if wanted is None:
            return self._evidence("nothing has been published yet", served=serial)
        if fingerprint == wanted.fingerprint:
            return self._evidence(f"presents serial {serial}", served=serial, holds=True)
        detail = f"presents serial {serial} (expected {wanted.serial})"
        return self._evidence(detail, served=serial, stale=True)

    def _evidence(
        self,
        detail: str,
        *,
        holds: bool = False,
        served: str | None = None,
        stale: bool = False,
        reachable: bool = True,
    ) -> Evidence:
        return Evidence(
            source=f"fake {self.certificate}",
            holds=holds,
            detail=detail,
            certificate=self.certificate,
            served=served,
            stale=stale,
            reachable=reachable,
        )
