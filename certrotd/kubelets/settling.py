"""From the store into the running kubelet: a restart where it must be, then gates."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from certrotd.core.errors import ActivationFailed
from certrotd.core.model import ServiceState
from certrotd.ports import Event

if TYPE_CHECKING:
    from collections.abc import Callable

    from certrotd.core.kubelets import Held, Record
    from certrotd.core.model.kubelets import Purpose
    from certrotd.ports import Clock, Gate, Log, Service

KUBELET = "kubelet"
"""How events call it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What to remember, and how far it is: in use (`holds`), given up (`error`), or on its way."""

    record: Record
    holds: bool
    detail: str
    error: str = ""
    hint: str = ""


@dataclass(slots=True)
class Settling:
    """`gates` makes those of one purpose anew: one of them compares what it saw before."""

    service: Service
    gates: Callable[[Purpose, Held], tuple[Gate, ...]]
    clock: Clock
    log: Log
    within: timedelta = timedelta(minutes=5)
    _open: dict[Purpose, list[Gate]] = field(default_factory=dict)

    def look(self, purpose: Purpose, record: Record, held: Held) -> Settled:
        """Do what is next for what was stored at `record.stored_at`; waits for a restart at most.

        A kubelet reads its store only when it starts. One that started since has it; one that is
        deliberately down stays down and will read it.
        """
        over = replace(record, stored_at=None, restarted_at=None)
        if record.restarted_at is None:
            if self.service.state() is ServiceState.STOPPED:
                detail = "the kubelet is down and stays down; the new pair awaits it"
                self.log(Event.COMPONENT_LEFT_STOPPED, component=KUBELET, detail=detail)
                return Settled(record=over, holds=True, detail=detail)
            self._open.pop(purpose, None)
            self._restart(record)
            record = replace(record, restarted_at=self.clock.now())
        return self._check(purpose, record, over, held)

    def _restart(self, record: Record) -> None:
        """Restart it unless it was since; a failure shows in the gates, if it is one."""
        started = self.service.started()
        if started and record.stored_at and started > record.stored_at:
            return
        try:
            self.service.activate()
        except ActivationFailed as e:
            self.log(Event.KUBELET_RESTART_FAILED, error=str(e), hint=e.hint)
        else:
            detail = "it reads its certificates only when it starts"
            self.log(Event.COMPONENT_ACTIVATED, component=KUBELET, how="restart", detail=detail)

    def _check(self, purpose: Purpose, record: Record, over: Record, held: Held) -> Settled:
        """Look at the gates that did not hold yet."""
        if purpose not in self._open:
            self._open[purpose] = list(self.gates(purpose, held))
        closed = []
        for gate in self._open[purpose][:]:
            seen = gate.check()
            if seen.holds:
                self._open[purpose].remove(gate)
                self.log(Event.GATE_PASSED, component=KUBELET, detail=seen.detail)
            else:
                closed.append(seen.detail)
        if not closed:
            del self._open[purpose]
            serial = held.leaf.serial if held.leaf else ""
            self.log(Event.KUBELET_CERTIFICATE_IN_USE, purpose=purpose, serial=serial)
            return Settled(record=over, holds=True, detail="the kubelet is well and uses it")
        detail = "; ".join(closed)
        since = record.restarted_at or self.clock.now()
        if self.clock.now() - since < self.within:
            return Settled(record=record, holds=False, detail=detail)
        del self._open[purpose]
        hint = "the certificate is good and stays; look at the kubelet's own log"
        self.log(Event.KUBELET_GATE_FAILED, purpose=purpose, error=detail, hint=hint)
        return Settled(record=over, holds=False, detail=detail, error=detail, hint=hint)
