"""What one look at a kubelet's certificate did and saw."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from certrotd.core.kubelets import Cause
    from certrotd.core.model import ParsedCertificate
    from certrotd.core.model.kubelets import Purpose


class State(StrEnum):
    """Where one purpose is after a look. A closed list."""

    FRESH = "fresh"
    WATCHED = "watched"  # the kubelet may do it by itself and is given time
    PAUSING = "pausing"  # the last requests were not long ago
    PENDING = "pending"  # asked, not answered
    SETTLING = "settling"  # stored; the kubelet is on its way
    RENEWED = "renewed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What one look did and saw; `until` is when something will be done about it."""

    purpose: Purpose
    state: State
    detail: str
    hint: str = ""
    cause: Cause | None = None
    until: datetime | None = None
    leaf: ParsedCertificate | None = None

    @property
    def is_over(self) -> bool:
        """Whether looking again at once shows nothing else."""
        return self.state not in (State.PENDING, State.SETTLING)
