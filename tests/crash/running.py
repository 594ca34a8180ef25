"""A component made of memory, for random runs."""

from __future__ import annotations

from certrotd.core.errors import ActivationFailed
from certrotd.core.model import ActivationKind, ServiceState
from tests.unit.stage import Process


class Running(Process):
    """A component that goes on with what it has, or does not come back, if a pair is no good."""

    def load(self) -> None:
        restarted = self.component.activation is ActivationKind.RESTART
        before = dict(self.serving)
        if restarted:
            self.serving.clear()
        try:
            super().load()
        except (ValueError, IndexError):
            if not restarted:
                self.serving = before

    def activate(self) -> None:
        assert self.is_now is not ServiceState.STOPPED, "what is down was told to come up"
        super().activate()
        if self.component.activation is not ActivationKind.RESTART:
            return
        self.is_up = True
        if not self.serving:
            raise ActivationFailed("it does not start", component=self.component.name)

    def begin(self) -> None:
        """Let a person start it, or the machine."""
        self.is_up = True
        self.load()
