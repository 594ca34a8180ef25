"""Trying again: exponential back-off with jitter inside one deadline, ended at once by a stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from certrotd.adapters.vault.errors import Retriable
from certrotd.core.errors import Interrupted, IssuerUnavailable
from certrotd.ports import Event

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from tenacity import RetryCallState

    from certrotd.ports import Clock, Log

FIRST_PAUSE, LONGEST_PAUSE, JITTER = 0.25, 8.0, 0.5
"""Seconds: the pause before the second try, the bound of its doubling, and the random addition."""
UNSURE_TRIES = 3
"""So often something is tried that may have been done already: every signature counts."""

_T = TypeVar("_T")


class Retrying:
    """How requests to one server are repeated."""

    def __init__(self, clock: Clock, log: Log, stop: threading.Event, server: str) -> None:
        self._clock = clock
        self._log = log
        self._stop = stop
        self._server = server

    def run(self, attempt: Callable[[], _T], ends: float, what: str) -> _T:
        """Call `attempt` until it does not raise Retriable, or the time is up.

        Args:
            attempt: One try.
            ends: When to give up, on the clock's monotonic scale; no pause reaches beyond.
            what: What is tried, for the log.

        Raises:
            Interrupted: the process was asked to stop.
            IssuerUnavailable: it did not work in time; says how often it was tried.
        """
        # Imported here because `plan` and `status` make sessions and never use them.
        import tenacity  # noqa: PLC0415

        doubling = tenacity.wait_exponential(multiplier=FIRST_PAUSE, max=LONGEST_PAUSE)
        backoff = doubling + tenacity.wait_random(0, JITTER)

        def pause(state: RetryCallState) -> float:
            named = _failure(state).retry_after
            # Never less than its own pause: a server that names 0 seconds would be hammered.
            return max(backoff(state), named or 0)

        def too_late(state: RetryCallState) -> bool:
            done = self._stop.is_set() or tries.unsure >= UNSURE_TRIES
            return done or self._clock.monotonic() + state.upcoming_sleep >= ends

        tries = _Tries(attempt, self._stop, what)
        began = self._clock.monotonic()
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Retriable),
            wait=pause,
            stop=too_late,
            sleep=tenacity.sleep_using_event(self._stop),
            before_sleep=lambda state: self._tell(state, what),
            reraise=True,
        )
        try:
            return retrying(tries)
        except Retriable as e:
            if self._stop.is_set():
                raise Interrupted(f"{what}: asked to stop; last: {e}", hint=e.hint) from e
            spent = self._clock.monotonic() - began
            told = f"{e} (tried {tries.made} times in {spent:.0f} s)"
            raise IssuerUnavailable(told, hint=e.hint, retry_after=e.retry_after) from e

    def _tell(self, state: RetryCallState, what: str) -> None:
        self._log(
            Event.ISSUER_RETRIED,
            server=self._server,
            attempt=state.attempt_number,
            pause=round(state.upcoming_sleep, 3),
            request=what,
            error=str(_failure(state)),
        )


class _Tries(Generic[_T]):
    """Tries of one thing: how many were made, and how many may have done it unseen."""

    def __init__(self, attempt: Callable[[], _T], stop: threading.Event, what: str) -> None:
        self._attempt, self._stop, self._what = attempt, stop, what
        self.made = self.unsure = 0

    def __call__(self) -> _T:
        if self._stop.is_set():
            raise Interrupted(f"{self._what}: asked to stop")
        self.made += 1
        try:
            return self._attempt()
        except Retriable as e:
            self.unsure += e.unsure
            raise


def _failure(state: RetryCallState) -> Retriable:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, Retriable)  # noqa: S101  # nothing else is retried
    return error
