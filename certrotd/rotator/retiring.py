"""Unlinking generations that were replaced long enough ago."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certrotd.core.errors import CertrotdError
from certrotd.ports import Event

if TYPE_CHECKING:
    from collections.abc import Iterable

    from certrotd.core.model import CertificateSpec
    from certrotd.rotator.world import World


def retire(world: World, specs: Iterable[CertificateSpec]) -> None:
    """Unlink what was replaced longer ago than the grace.

    A directory that does not let go of old files is logged and no reason to fail: the next run
    tries again, and whether a component noticed its new files is for its proofs to tell.
    """
    before, count = world.clock.now() - world.bounds.grace, 0
    for spec in specs:
        try:
            count += world.store.retire(spec, before)
        except CertrotdError as e:
            world.log(Event.RETIRING_FAILED, certificate=spec.name, error=str(e), hint=e.hint)
    if count:
        world.log(Event.GENERATIONS_RETIRED, count=count)
