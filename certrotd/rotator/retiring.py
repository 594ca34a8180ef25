"""Unlinking generations that were replaced long enough ago."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certrotd.core import planning
from certrotd.core.errors import CertrotdError
from certrotd.ports import Event

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from certrotd.core.model import CertificateSpec, ComponentName
    from certrotd.rotator.world import World


def retire(
    world: World,
    specs: Iterable[CertificateSpec],
    unproved: Container[ComponentName] | None = None,
) -> None:
    """Unlink what was replaced longer ago than the grace.

    Of an `unproved` component (those the journal names if left out) no copy is dropped: the one to
    go back to may be an old one, after attempts that were interrupted.

    A directory that does not let go of old files is logged and no reason to fail: the next run
    tries again, and whether a component noticed its new files is for its proofs to tell.
    """
    if unproved is None:
        unproved = _unproved(world)
    before, count = world.clock.now() - world.bounds.grace, 0
    for spec in specs:
        try:
            prune = spec.component not in unproved
            count += world.store.retire(spec, before, prune=prune)
        except CertrotdError as e:
            world.log(Event.RETIRING_FAILED, certificate=spec.name, error=str(e), hint=e.hint)
    if count:
        world.log(Event.GENERATIONS_RETIRED, count=count)


def _unproved(world: World) -> Container[ComponentName]:
    """Return the components whose latest publication was never proved; all if nobody can tell."""
    try:
        return planning.owed_work(world.journal.replay())
    except CertrotdError:
        return {each.name for each in world.components}
