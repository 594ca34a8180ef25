"""What a guard says: concerns, the numbers it saw, and when certificates end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime


class Level(IntEnum):
    """How bad it is; the value is the exit code of the Nagios convention."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


class Rule(StrEnum):
    """What the guard of the path looks for. A closed list, and an interface: labels of metrics."""

    REQUESTS = "requests"  # they could not be looked at
    PENDING = "pending"
    UNSIGNED = "unsigned"
    REFUSED = "refused"
    STORM = "storm"
    BYPASS = "bypass"
    RIGHTS = "rights"
    TOKENS = "tokens"
    SERVING = "serving"
    SIGNING_CA = "signing_ca"


class OwnRule(StrEnum):
    """What the check of one node looks for. A closed list, and an interface: labels of metrics."""

    CERTIFICATE = "certificate"  # missing, damaged, ended
    ENDING = "ending"
    NAMES_CHANGED = "names_changed"
    KUBECONFIG = "kubeconfig"
    REQUEST = "request"
    BUDGET = "budget"
    CREDENTIAL = "credential"


@dataclass(frozen=True, slots=True, kw_only=True)
class Concern:
    """One thing that a person should know, and what to do about it."""

    level: Level
    rule: Rule | OwnRule
    text: str
    fix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How many requests there are in which state, and what became of those of the last hour.

    Of the last hour are `approved`, `signed`, and `refused`: denied or failed. `oldest_pending` is
    in seconds, 0 if nothing waits; `unsigned` are approved and no more. `kubelets` is how many
    there are, `unread` how many present nothing to where the guard runs.
    """

    pending: int = 0
    oldest_pending: float = 0.0
    unsigned: int = 0
    issued: int = 0
    denied: int = 0
    failed: int = 0
    approved: int = 0
    signed: int = 0
    refused: int = 0
    kubelets: int = 0
    unread: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """When a certificate ends: of which kind it is (`serving`, `signing_ca`), and whose."""

    of: str
    name: str
    at: datetime


def ordered(found: Iterable[Concern]) -> tuple[Concern, ...]:
    """Return the worst first; unknown is the highest number, but not the worst news."""
    order = (Level.CRITICAL, Level.UNKNOWN, Level.WARNING)
    return tuple(sorted(found, key=lambda each: order.index(each.level)))
