"""Is this node's kubelet provided for? Judged from files alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certrotd.core.kubelets import PAUSES, REMEMBERED, Cause
from certrotd.core.model.kubelets import Purpose
from certrotd.kubelets.concerns import Concern, Level, OwnRule, ordered

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from certrotd.kubelets.renewing import Renewer
    from certrotd.kubelets.tending import Sight

_MINDED = {
    Cause.ENDING: (Level.WARNING, OwnRule.ENDING),
    Cause.NAMES_CHANGED: (Level.WARNING, OwnRule.NAMES_CHANGED),
}
"""All other causes are a certificate that is of no use."""


def concerns(renewer: Renewer, sights: Sequence[Sight], now: datetime) -> tuple[Concern, ...]:
    """Return all concerns, the worst first; `renewer` is asked for nothing but files."""
    found: list[Concern] = []
    for sight in sights:
        if sight.purpose is Purpose.CLIENT:
            found += _way_in(renewer, sight, now)
        found += _certificate(sight)
        found += _requests(renewer, sight, now)
    return ordered(found)


def _way_in(renewer: Renewer, sight: Sight, now: datetime) -> Iterator[Concern]:
    """Find a node that cannot come back: nothing to ask with, or no way for its kubelet to log in.

    As long as the client certificate is good, nobody needs the bootstrap credential.
    """
    means, name = renewer.means, renewer.terms.node
    if not sight.held.usable(now):
        if problem := means.access.bootstrap_problem():
            yield Concern(
                level=Level.CRITICAL,
                rule=OwnRule.CREDENTIAL,
                text=f"node {name} cannot come back by itself: its client certificate is of no "
                f"use, and {problem}",
                fix=problem.hint,
            )
    elif problem_there := means.store.kubeconfig_problem(now):
        yield Concern(
            level=Level.CRITICAL,
            rule=OwnRule.KUBECONFIG,
            text=f"a kubelet that starts now does not get in: {problem_there}",
            fix=_fix("writes it anew", sight),
        )


def _certificate(sight: Sight) -> Iterator[Concern]:
    if sight.why:
        cause, detail = sight.why
        level, rule = _MINDED.get(cause, (Level.CRITICAL, OwnRule.CERTIFICATE))
        yield Concern(
            level=level,
            rule=rule,
            text=f"the {_word(sight)} certificate is {cause}: {detail}",
            fix=_fix("replaces it", sight),
        )


def _requests(renewer: Renewer, sight: Sight, now: datetime) -> Iterator[Concern]:
    """Find a request that nobody answers or looks at, and requests that were all in vain."""
    attempt, limit = sight.record.attempt, renewer.terms.answer_within
    if attempt and now - attempt.begun_at > limit:
        minutes = int((now - attempt.begun_at).total_seconds() // 60)
        yield Concern(
            level=Level.WARNING,
            rule=OwnRule.REQUEST,
            text=f"the {_word(sight)} request {attempt.name} waits for {minutes} minutes",
            fix=f"kubectl get csr {attempt.name}; is kube-apiserver there, and `certrotd run` on?",
        )
    recent = sight.record.recent(now)
    if sight.why and len(recent) >= len(PAUSES):
        hours = int(REMEMBERED.total_seconds() // 3600)
        yield Concern(
            level=Level.WARNING,
            rule=OwnRule.BUDGET,
            text=f"{len(recent)} {_word(sight)} requests in {hours} hours did not help; one is "
            f"made every {int(PAUSES[-1].total_seconds() // 60)} minutes now",
            fix="the log of `certrotd run` says what became of them (kubelet_request_failed); on "
            "the control plane: certrotd kubelet guard",
        )


def _word(sight: Sight) -> str:
    return sight.purpose.name.lower()


def _fix(what: str, sight: Sight) -> str:
    return f"`certrotd run` {what}; at once: certrotd kubelet renew --if-due --purpose " + _word(
        sight
    )
