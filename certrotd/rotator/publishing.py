"""Publishing several verified pairs at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certrotd.core.errors import CertrotdError, PublishUncertain
from certrotd.ports import Event

if TYPE_CHECKING:
    from collections.abc import Iterable

    from certrotd.core.model import Published, Verified
    from certrotd.rotator.world import World


def publish(world: World, verified: tuple[Verified, ...]) -> Iterable[Published | CertrotdError]:
    """Publish each and return what became of it, in order.

    Certificates do not share generations, so they do not wait for one another: together they cost
    the disk much less than in turn, as it confirms several at once.
    """
    if len(verified) < 2:  # noqa: PLR2004  # one needs no threads
        return tuple(_publish(world, each) for each in verified)
    # Imported here because commands that only look need no threads.
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    workers = min(world.bounds.workers, len(verified))
    with ThreadPoolExecutor(workers, thread_name_prefix="publish") as pool:
        return tuple(pool.map(lambda each: _publish(world, each), verified))


def _publish(world: World, verified: Verified) -> Published | CertrotdError:
    try:
        try:
            published = world.store.publish(verified, world.clock.now())
        except PublishUncertain:
            # Neither old nor durably new. A fresh generation tells whether the disk works again;
            # a second fsync of the same pages would not.
            published = world.store.publish(verified, world.clock.now())
    except CertrotdError as e:
        return e
    world.log(
        Event.CERTIFICATE_PUBLISHED,
        certificate=published.certificate,
        component=verified.spec.component,
        serial=published.serial,
        not_after=published.not_after,
        generation=published.generation,
    )
    return published
