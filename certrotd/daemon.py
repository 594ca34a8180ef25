"""Run until told to stop: the minute tick, the daily slot, signals, sd_notify, watchdog.

Decides nothing: what is due is the rotator's business. Ticks, slots, reloads and requests run one
after another on the scheduler's only worker; the main thread owns the signals.

    SIGTERM, SIGINT   finish the step in hand, then end; a second SIGINT ends at once
    SIGHUP            read the configuration again; a faulty one is rejected, the old one stays
    SIGUSR1           rotate what is due now, whatever the pause after a failure
"""

from __future__ import annotations

import queue
import signal
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Protocol

from certrotd.core.errors import (
    CertrotdError,
    ConfigError,
    LockHeld,
    OnHold,
    TransientError,
)
from certrotd.core.model import Result
from certrotd.core.planning import Wish
from certrotd.ports import Event

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from datetime import datetime, time

    from apscheduler.schedulers.background import BackgroundScheduler

    from certrotd.core.model import RunReport
    from certrotd.ports import Clock, Log
    from certrotd.rotator import Rotator

TICK = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=1)
"""After failures the tick pauses for 1, 2, 4 … minutes, but no longer than this."""
STUCK = timedelta(minutes=30)
"""A tick that has said nothing for so long is taken for dead: no more watchdog pings."""
REMIND = 60
"""A failure that repeats itself is logged again only every so many ticks."""


class Notifier(Protocol):
    """What the daemon tells systemd; adapters/notify.py implements it."""

    def ready(self, status: str = "") -> None:
        """READY=1: started, or reloaded."""

    def reloading(self) -> None:
        """RELOADING=1."""

    def stopping(self) -> None:
        """STOPPING=1."""

    def status(self, text: str) -> None:
        """STATUS=: one line for `systemctl status`."""

    def watchdog(self) -> None:
        """WATCHDOG=1: still alive."""

    def watchdog_interval(self) -> float | None:
        """Return how often, in seconds, the watchdog wants to be told, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What the daemon is put in charge of; a reload makes a new one."""

    rotator: Rotator
    slot: time
    """The slot's time of day in UTC, this node's share of the splay included."""
    close: Callable[[], None]
    """Give back what was borrowed, such as tokens."""
    tend: Callable[[], None] | None = None
    """Look after this node's kubelet, in every tick, whatever becomes of the rotation."""


class Pulse:
    """A log that remembers when it was last written to: a sign of life."""

    def __init__(self, log: Log, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self.last = clock.monotonic()

    def __call__(self, event: Event, /, **facts: object) -> None:
        """Pass the event on."""
        self.last = self._clock.monotonic()
        self._log(event, **facts)


class Daemon:
    """The long-running face."""

    def __init__(
        self,
        load: Callable[[], Charge],
        *,
        clock: Clock,
        log: Pulse,
        notifier: Notifier,
        stop: threading.Event,
    ) -> None:
        """`load` reads the configuration; `stop` is set when the process is asked to end."""
        self._load = load
        self._clock = clock
        self._log = log
        self._notifier = notifier
        self._stop = stop
        self._signals: queue.SimpleQueue[signal.Signals] = queue.SimpleQueue()
        self._charge = load()
        self._busy = False
        self._failures = 0
        self._not_before: datetime | None = None
        self._last_trouble = ("", 0)

    def run(self) -> None:
        """Work until SIGTERM or SIGINT; returns when the step in hand is finished."""
        scheduler = self._scheduler()
        handled = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
        for each in handled:
            # Only a queue: handlers run between two instructions of whatever is going on.
            signal.signal(each, lambda number, _frame: self._signals.put(signal.Signals(number)))
        scheduler.start()
        self._log(Event.DAEMON_STARTED, slot=self._charge.slot)
        self._notifier.ready(self._told())
        try:
            self._serve(scheduler)
        finally:
            self._stop.set()
            self._notifier.stopping()
            # A second Ctrl-C does not wait.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            scheduler.remove_all_jobs()
            scheduler.shutdown(wait=True)
            self._charge.close()
            self._log(Event.DAEMON_STOPPED)

    def _serve(self, scheduler: BackgroundScheduler) -> None:
        interval = self._notifier.watchdog_interval()
        while True:
            try:
                received = self._signals.get(timeout=interval)
            except queue.Empty:
                if self._alive():
                    self._notifier.watchdog()
                continue
            if received in (signal.SIGTERM, signal.SIGINT):
                return
            job = self._reload if received is signal.SIGHUP else self._now
            scheduler.add_job(job, args=(scheduler,) if received is signal.SIGHUP else ())

    def _scheduler(self) -> BackgroundScheduler:
        # Imported here: only the daemon needs it, and it takes its time.
        from apscheduler.executors.pool import ThreadPoolExecutor  # noqa: PLC0415
        from apscheduler.schedulers.background import BackgroundScheduler  # noqa: PLC0415

        # UTC and no jitter: in zones with daylight saving APScheduler 3 loses a day or fires
        # for ever. No misfire limit: a tick after a suspend is as good as any other.
        scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(1)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        self._schedule(scheduler)
        return scheduler

    def _schedule(self, scheduler: BackgroundScheduler) -> None:
        from apscheduler.triggers.cron import CronTrigger  # noqa: PLC0415
        from apscheduler.triggers.interval import IntervalTrigger  # noqa: PLC0415

        slot = self._charge.slot
        at_slot = CronTrigger(hour=slot.hour, minute=slot.minute, second=slot.second, timezone=UTC)
        tick = IntervalTrigger(seconds=int(TICK.total_seconds()), timezone=UTC)
        now = self._clock.now()
        scheduler.add_job(self._tick, tick, id="tick", replace_existing=True, next_run_time=now)
        scheduler.add_job(self._now, at_slot, id="slot", replace_existing=True)

    def _alive(self) -> bool:
        silence = self._clock.monotonic() - self._log.last
        return not self._busy or silence < STUCK.total_seconds()

    def _now(self) -> None:
        """Rotate what is due without regard to the pause after a failure."""
        self._failures, self._not_before = 0, None
        self._tick()

    def _tick(self) -> None:
        self._rotate()
        if self._charge.tend and not self._stop.is_set():
            self._tend(self._charge.tend)

    def _tend(self, tend: Callable[[], None]) -> None:
        self._busy, self._log.last = True, self._clock.monotonic()
        try:
            tend()
        except Exception as e:  # noqa: BLE001  # as in _rotate
            self._log(Event.TICK_FAILED, error=repr(e), exc_info=e)
        finally:
            self._busy = False

    def _rotate(self) -> None:
        if self._stop.is_set() or (self._not_before and self._clock.now() < self._not_before):
            return
        self._busy, self._log.last = True, self._clock.monotonic()
        try:
            report = self._charge.rotator.run(Wish(by_itself=True))
        except (LockHeld, OnHold) as e:
            self._trouble(Event.RUN_DEFERRED, e, pause=False)
        except TransientError as e:
            self._trouble(Event.RUN_DEFERRED, e, pause=True)
        except CertrotdError as e:
            self._trouble(Event.RUN_FAILED, e, pause=True)
        except Exception as e:  # noqa: BLE001  # a defect must not end the daemon; it is logged whole
            self._log(Event.TICK_FAILED, error=repr(e), exc_info=e)
            self._pause()
        else:
            self._went(report)
        finally:
            self._busy = False

    def _went(self, report: RunReport) -> None:
        if report.result in (Result.FAILED, Result.DEFERRED):
            self._pause()
        elif report.steps or self._failures:
            self._failures, self._not_before = 0, None
        self._last_trouble = ("", 0)
        if report.steps:
            self._notifier.status(self._told(f"last run {report.result}"))

    def _trouble(self, event: Event, error: CertrotdError, *, pause: bool) -> None:
        """Log what keeps a run from happening, but not the same every minute."""
        text, repeated = str(error), self._last_trouble[1] + 1
        if text != self._last_trouble[0] or repeated >= REMIND:
            self._log(event, error=text, hint=error.hint)
            repeated = 0
        self._last_trouble = (text, repeated)
        self._notifier.status(self._told(text))
        if pause:
            self._pause()

    def _pause(self) -> None:
        pause = min(TICK * 2**self._failures, LONGEST_PAUSE)
        self._failures = min(self._failures + 1, 10)
        self._not_before = self._clock.now() + pause

    def _reload(self, scheduler: BackgroundScheduler) -> None:
        self._notifier.reloading()
        before = self._charge
        try:
            self._charge = self._load()
        except ConfigError as e:
            self._log(
                Event.CONFIG_REJECTED,
                problems=[str(problem) for problem in e.problems],
                hint="the configuration read before stays in force",
            )
        except CertrotdError as e:
            self._log(Event.CONFIG_REJECTED, problems=[str(e)], hint=e.hint)
        else:
            self._failures, self._not_before, self._last_trouble = 0, None, ("", 0)
            before.close()
            self._schedule(scheduler)
            self._log(Event.CONFIG_RELOADED, slot=self._charge.slot)
        self._notifier.ready(self._told())

    def _told(self, news: str = "") -> str:
        status = f"daily slot at {self._charge.slot:%H:%M:%S} UTC"
        return f"{status}; {news}" if news else status
