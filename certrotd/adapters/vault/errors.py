"""What can go wrong between here and Vault, in certrotd's words.

Statuses decide, not classes: hvac has one class for several statuses.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from certrotd.core.errors import IssuerRefused, IssuerUnavailable
from certrotd.core.quoting import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from certrotd.core.errors import CertrotdError

_RETRIED = frozenset({412, 429}) | (frozenset(range(500, 600)) - {501})
_NEVER_DONE = frozenset({412, 429, 503})
_REDIRECTS = range(300, 400)
_ELSEWHERE = range(472, 475)
"""Vault's own statuses: a secondary or standby that cannot serve this."""


_UNDONE = ("sealed", "active cluster node not found")
"""How a server says with a status of a failure that it has not even begun."""


class Retriable(IssuerUnavailable):
    """Worth another try within the deadline of the same request.

    `unsure`: it may have been done, and costs something each time; few tries, then.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        retry_after: float | None = None,
        unsure: bool = False,
    ) -> None:
        super().__init__(message, hint=hint, retry_after=retry_after)
        self.unsure = unsure


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """What a request is for, so that its failure can say what to do.

    `hints` answers a refusal by status; `secrets` are the texts that must not be repeated;
    `costly` is what must not be done often: every signature is one.
    """

    what: str
    path: str
    server: str
    namespace: str | None = None
    hints: Mapping[int, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    costly: bool = False

    def __str__(self) -> str:
        return f"{self.what}: {self.server}, {self.path}"

    def clean(self, text: str) -> str:
        """Return a text of the server's, short, on one line, without our secrets."""
        return quoted(text, self.secrets)


def from_status(
    purpose: Purpose, status: int, said: str, *, retry_after: float | None = None
) -> CertrotdError:
    """Translate an answer that is no success; `said` is the server's explanation."""
    said = purpose.clean(said) or "no explanation"
    hint = purpose.hints.get(status, "")
    if status in _REDIRECTS:
        return IssuerUnavailable(
            f"{purpose}: it redirects to {said}, which is not followed: the token would go there",
            hint="set `address` to the active node, or let standbys forward requests",
        )
    text = f"{purpose}: {status}: {said}"
    if status in _RETRIED:
        hint = _outage_hint(status, said) or hint
        undone = status in _NEVER_DONE or any(each in said for each in _UNDONE)
        unsure = purpose.costly and not undone
        return Retriable(text, hint=hint, retry_after=retry_after, unsure=unsure)
    if status == 501:  # noqa: PLR2004  # Vault's own meaning of it
        return IssuerUnavailable(text, hint="initialize it: `vault operator init`")
    if status in _ELSEWHERE:
        return IssuerUnavailable(text, hint="set `address` to the active node")
    return IssuerRefused(text, hint=hint, status=status)


def _outage_hint(status: int, said: str) -> str:
    if "sealed" in said.lower():
        return "unseal it: `vault operator unseal`"
    if status == 429:  # noqa: PLR2004  # too many requests
        return "a rate-limit or lease-count quota is used up: `vault list sys/quotas/rate-limit`"
    return ""


def sealed(purpose: Purpose) -> IssuerUnavailable:
    """Say that nothing works until somebody unseals it."""
    return IssuerUnavailable(
        f"{purpose}: Vault is sealed", hint="unseal it: `vault operator unseal`"
    )


def wrong_shape(purpose: Purpose, problem: str) -> IssuerRefused:
    """Say that an answer is not one that Vault gives."""
    return IssuerRefused(
        f"{purpose}: {problem}", hint="is `address` a Vault or OpenBao server, and no proxy's?"
    )
