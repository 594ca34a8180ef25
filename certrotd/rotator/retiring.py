"""Unlinking generations that were replaced long enough ago."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certrotd.core import planning
from certrotd.core.errors import CertrotdError
from certrotd.ports import Event

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from certrotd.core.model import CertificateSpec, ComponentName, Entry
    from certrotd.rotator.world import World


def retire(
    world: World,
    specs: Iterable[CertificateSpec],
    spared: Container[ComponentName] | None = None,
) -> None:
    """Unlink what was replaced longer ago than the grace.

    Of a `spared` component (if left out, those that are `unproved`) no copy is dropped: the one to
    go back to may be an old one, after attempts that were interrupted.

    A directory that does not let go of old files is logged and no reason to fail: the next run
    tries again, and whether a component noticed its new files is for its proofs to tell.
    """
    if spared is None:
        spared = _unproved(world)
    before, count = world.clock.now() - world.bounds.grace, 0
    for spec in specs:
        try:
            prune = spec.component not in spared
            count += world.store.retire(spec, before, prune=prune)
        except CertrotdError as e:
            world.log(Event.RETIRING_FAILED, certificate=spec.name, error=str(e), hint=e.hint)
    if count:
        world.log(Event.GENERATIONS_RETIRED, count=count)


def unproved(entries: Iterable[Entry]) -> frozenset[ComponentName]:
    """Return the components whose latest publication was never proved."""
    owed = planning.owed_work(entries)
    return frozenset(name for name, account in owed.items() if account.published)


def _unproved(world: World) -> frozenset[ComponentName]:
    """Ask the journal; if it cannot be read, that may be true of all."""
    try:
        return unproved(world.journal.replay())
    except CertrotdError:
        return frozenset(each.name for each in world.components)
