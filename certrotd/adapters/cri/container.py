"""A component that is a CRI container, known by its labels, and started again by its keeper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from certrotd.adapters.cri.containers import Phase, Refused, Unreachable
from certrotd.adapters.cri.restarting import stop_and_wait
from certrotd.adapters.cri.runtime import Runtime
from certrotd.adapters.cri.watching import Deadline, NotBack
from certrotd.core.errors import ActivationFailed
from certrotd.core.model import ServiceState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from certrotd.adapters.cri.containers import Container


@dataclass(frozen=True, slots=True)
class _LabelView:
    """All containers with these labels."""

    runtime: Runtime
    labels: Mapping[str, str]

    def containers(self) -> tuple[Container, ...]:
        return self.runtime.containers(self.labels)

    def ending(self, container: Container) -> str:
        return self.runtime.ending(container)


@dataclass(frozen=True, slots=True)
class ContainerRestart:
    """Stops the one container with all these labels and waits until the next runs steadily.

    Whoever keeps it, mostly the kubelet, must start the next one, with the same labels, within
    `timeout`. `endpoint` is the runtime's socket; `grace` what the container has for its end, if
    not its pod's own grace period.
    """

    labels: Mapping[str, str]
    timeout: timedelta
    endpoint: str
    grace: timedelta | None = None
    component: str = ""

    def state(self) -> ServiceState:
        """Tell whether the container should be up.

        RUNNING: it runs, or it ended and is still kept in a pod that is not ended. STOPPED: it is
        not there. UNKNOWN: the runtime cannot be asked.
        """
        try:
            with Runtime(self.endpoint) as runtime:
                live = _live(runtime, self.labels)
        except (Unreachable, Refused):
            return ServiceState.UNKNOWN
        return ServiceState.RUNNING if live else ServiceState.STOPPED

    def started(self) -> datetime | None:
        """Return when it was created, shortly before its start; None if it does not run."""
        try:
            with Runtime(self.endpoint) as runtime:
                seen = runtime.containers(self.labels)
        except (Unreachable, Refused):
            return None
        running = [each.created for each in seen if each.phase is Phase.RUNNING and each.created]
        return min(running, default=None)

    def activate(self) -> None:
        """Restart the container.

        Raises:
            ActivationFailed: the runtime cannot be asked, the labels fit none or several, or it
                did not come back; the end of its log is in the message.
        """
        deadline = Deadline(self.timeout.total_seconds())
        try:
            with Runtime(self.endpoint) as runtime:
                view = _LabelView(runtime, self.labels)
                names = self._name(_live(runtime, self.labels))
                stop_and_wait(runtime, view, names, deadline, self.grace)
        except (Unreachable, Refused) as e:
            raise self._failed(str(e), "is the container runtime running?") from e
        except NotBack as e:
            raise self._failed(str(e), "crictl ps -a; see its keeper's log") from e

    def _name(self, live: tuple[Container, ...]) -> frozenset[str]:
        """Return the one name the container has in all its lives.

        Raises:
            Refused: there is none, or several.
        """
        if not live:
            raise Refused("no container has these labels")
        if len({(each.pod, each.name) for each in live}) > 1:
            raise Refused(f"several have these labels: {', '.join(sorted(map(str, live)))}")
        return frozenset(each.name for each in live)

    def _failed(self, cause: str, hint: str) -> ActivationFailed:
        labels = ", ".join(f"{key}={value}" for key, value in self.labels.items())
        return ActivationFailed(
            f"the container with {labels} could not be restarted: {cause}",
            component=self.component,
            hint=hint,
        )


def _live(runtime: Runtime, labels: Mapping[str, str]) -> tuple[Container, ...]:
    """Return the containers of pods that are not ended."""
    ready = {each.id for each in runtime.sandboxes({}) if each.ready}
    return tuple(each for each in runtime.containers(labels) if each.sandbox in ready)
