"""What `certrotd plan` finds for a configuration: real files and issuers, and no processes.

The clock is a fake one, so that a test chooses the day.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from certrotd.adapters.ca import FileAuthority
from certrotd.adapters.store import GenerationStore
from certrotd.core.model import IssuerName, RuntimeFacts
from certrotd.rotator import Bounds, Keeper, Rotator, World
from tests.fakes.clock import FakeClock
from tests.fakes.hold import FakeHold
from tests.fakes.journal import FakeJournal
from tests.fakes.lock import FakeLock
from tests.fakes.log import RecordingLog
from tests.fakes.runtime import FakeRuntime
from tests.fakes.service import FakeService

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from certrotd.config import Config

_TOLD = RuntimeFacts()


def rotator(config: Config, state: Path, now: datetime) -> Rotator:
    """Assemble with services that are always up and have no proofs."""
    clock = FakeClock(now)
    return Rotator(
        World(
            components=config.components,
            schedule=config.schedule,
            bounds=Bounds(
                offset=timedelta(0),
                workers=2,
                issuances=10,
                skew=timedelta(seconds=30),
                grace=timedelta(0),
            ),
            clock=clock,
            issuers={
                IssuerName(name): FileAuthority(
                    each.ca.certificate if each.ca else str(each.trust_anchors),
                    each.ca.key if each.ca else "/nowhere",
                    clock.now,
                    anchors_file=each.trust_anchors,
                )
                for name, each in config.settings.issuers.items()
            },
            store=GenerationStore(str(state / "history"), keep=3),
            keepers={
                each.name: Keeper(service=FakeService(), runtime=FakeRuntime(told=_TOLD, old=now))
                for each in config.components
            },
            journal=FakeJournal(),
            lock=FakeLock(),
            hold=FakeHold(),
            log=RecordingLog(),
            stopping=lambda: False,
        )
    )
