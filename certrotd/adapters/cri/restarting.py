"""Ending containers so that whoever keeps them starts the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certrotd.adapters.cri.containers import Late, Phase
from certrotd.adapters.cri.watching import NotBack, wait_for_successors

if TYPE_CHECKING:
    from datetime import timedelta

    from certrotd.adapters.cri.containers import View
    from certrotd.adapters.cri.runtime import Runtime
    from certrotd.adapters.cri.watching import Deadline


def stop_and_wait(
    runtime: Runtime,
    view: View,
    names: frozenset[str],
    deadline: Deadline,
    grace: timedelta | None = None,
) -> None:
    """Stop the running containers of these names, and wait for others in their place.

    If none runs, only the wait is left: their keeper is about to start them. `grace` is what they
    have for their end; without one their pod's own grace period.

    Raises:
        NotBack: a new one ended again, or it took too long.
        Unreachable, Refused: the runtime cannot be asked, or answered with an error.
    """
    seen = view.containers()
    for each in seen:
        if each.phase is Phase.RUNNING and each.name in names:
            seconds = each.grace if grace is None else int(grace.total_seconds())
            try:
                runtime.stop(each, seconds, deadline.left())
            except Late as e:
                raise NotBack(
                    f"{each} did not end in time: its grace period is {seconds} s, the time "
                    f"limit of the restart {deadline.seconds:g} s"
                ) from e
    wait_for_successors(view, frozenset(each.id for each in seen), names, deadline)
