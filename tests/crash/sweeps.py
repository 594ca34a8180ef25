"""Sweeps over whole runs of the rotator: killed before every call, failing in every call.

Each sweep interrupts at one point, asks the oracle, runs again as a new process, and asks again.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from certrotd.core.errors import CertrotdError
from certrotd.core.model import ComponentName, Result
from tests.crash import oracle
from tests.crash.faults import CHANGING, FAILING, Fault, count, failing, injected, killed
from tests.crash.people import make_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from certrotd.core.model import RunReport
    from tests.crash.whole import Whole

ALL = {
    name: tuple(
        dict.fromkeys(
            (*codes, errno.ENOMEM, errno.EINTR, errno.EROFS, errno.EDQUOT, errno.EIO, errno.EMFILE)
        )
    )
    for name, codes in FAILING.items()
}
"""Every error at every call, likely or not."""
ALLOWANCE = 2
"""How often a certificate may be asked for when one run was interrupted."""


@dataclass(frozen=True, slots=True)
class Story:
    """What is interrupted: `prepare` sets the stage from nothing, `act` is the run."""

    name: str
    prepare: Callable[[Whole], None]
    act: Callable[[Whole], RunReport | None]
    bootstrap: bool = False


@dataclass(slots=True)
class Tally:
    """What a sweep found: how many points were tried, and every bad state."""

    points: int = 0
    bad: list[str] = field(default_factory=list)
    at_first: bool = False

    def add(self, where: str, faults: list[str]) -> None:
        """Count a point.

        Raises:
            AssertionError: there is a fault and only the first was asked for.
        """
        self.points += 1
        self.bad += [f"{where}: {each}" for each in faults]
        if self.at_first:
            assert not self.bad, self.bad


def _tomorrow(node: Whole) -> None:
    node.bootstrap()
    node.clock.advance(timedelta(days=1))


def _empty(node: Whole) -> None:
    node.clear()


def _foreign(node: Whole) -> None:
    """Plain files of another tool at every path, and components that use them."""
    node.bootstrap()
    for spec in node.specs:
        for output in spec.outputs:
            make_plain(output)
    for home in node.homes:
        _remove(home / ".certrotd")
    _remove(node.root / "state")
    node.clock.advance(timedelta(days=1))


def _twice(node: Whole) -> None:
    _tomorrow(node)
    node.run()
    node.clock.advance(timedelta(minutes=1))


def _remove(path: Path) -> None:
    for each in sorted(path.rglob("*"), reverse=True):
        each.rmdir() if each.is_dir() and not each.is_symlink() else each.unlink()
    path.rmdir()


STORIES = (
    Story("rotation", _tomorrow, lambda node: node.run()),
    Story("bootstrap", _empty, lambda node: node.run(), bootstrap=True),
    Story("adoption", _foreign, lambda node: node.run()),
    Story("rollback", _twice, lambda node: node.rotator().rollback(ComponentName("etcd"))),
)


def told(node: Whole, report: RunReport | None) -> list[str]:
    """Compare what a run said with what is seen."""
    if report is None:
        return []
    found = []
    for step in report.steps:
        if step.result in (Result.DONE, Result.STOPPED):
            specs = [each for each in node.specs if each.component == step.component]
            serials = {each.certificate: each.new_serial for each in step.changes}
            for spec in specs:
                leaf = oracle.held(spec).leaf
                if spec.name in serials and oracle.serial_of(leaf) != serials[spec.name]:
                    found.append(f"{spec.name}: said to be published and is not there")
                served = spec.name in node.running.ports and step.result is Result.DONE
                if served and node.running.served(spec.name) != leaf:
                    found.append(f"{spec.name}: said to be presented and is not")
    return found


def recover(node: Whole, story: Story) -> list[str]:
    """Run again as a new process until nothing is due; a person lifts the hold."""
    node.clock.advance(timedelta(minutes=10))
    node.hold.lift() if node.hold.placed() else None
    found: list[str] = []
    try:
        report = node.run()
        found += [f"again: {s.component} {s.result}: {s.error}" for s in report.steps if s.error]
        found += told(node, report)
        if story.bootstrap:
            node.load()
        node.clock.advance(timedelta(minutes=1))
        node.run()
    except (CertrotdError, AssertionError) as e:
        return [*found, f"the next run: {e}"]
    found += node.unsettled()
    asked = {name: times for name, times in node.issuer.asked().items() if times > ALLOWANCE}
    return found + ([f"asked too often: {asked}"] if asked else [])


def _each(node: Whole, story: Story, points: list[Any]) -> Iterator[Any]:
    """Set the stage anew for each point."""
    story.prepare(node)
    saved, now = node.save(), node.clock.now()
    for point in points:
        node.clock.set(now)
        node.begin_from(saved, start=not story.bootstrap)
        yield point


def measure(node: Whole, story: Story, names: tuple[str, ...]) -> list[str]:
    """Run undisturbed; return the calls that it makes."""
    story.prepare(node)
    reports: list[RunReport | None] = []
    calls = count(lambda: reports.append(story.act(node)), names)
    (report,) = reports
    wanted = (Result.DONE, Result.STOPPED, Result.ROLLED_BACK)
    assert report is not None
    assert all(each.result in wanted for each in report.steps), report.steps
    return calls


def instants(node: Whole, story: Story, tally: Tally) -> Tally:
    """Look before every call of an undisturbed run: all that a consumer can ever see of it."""
    story.prepare(node)
    busy = False

    def look(name: str) -> None:
        nonlocal busy
        if not busy:
            busy = True
            tally.add(f"instant {tally.points} ({name})", node.faults(bootstrap=story.bootstrap))
            busy = False

    class Always(Fault):
        def strike(self, name: str) -> None:
            self.act(name)

    with injected(Always(0, look), CHANGING):
        story.act(node)
    return tally


def kills(node: Whole, story: Story, tally: Tally, stride: int = 1, offset: int = 0) -> Tally:
    """Kill the process before every call that changes something."""
    total = len(measure(node, story, CHANGING))
    for at in _each(node, story, list(range(1 + offset, total + 1, stride))):
        where = f"{story.name}, killed before call {at} of {total}"
        if not killed(at, lambda: story.act(node)):
            tally.add(where, ["this call was never made"])
            continue
        found = node.faults(bootstrap=story.bootstrap)
        tally.add(where, found + recover(node, story))
    return tally


def torn(node: Whole, story: Story, tally: Tally, stride: int = 1, offset: int = 0) -> Tally:
    """The same where each write takes only a part of what it is given."""
    with short_writes():
        return kills(node, story, tally, stride, offset)


def errors(node: Whole, story: Story, tally: Tally, stride: int = 1, offset: int = 0) -> Tally:
    """Let every call fail once with every error."""
    calls = measure(node, story, tuple(ALL))
    points = [(at, code) for at, name in enumerate(calls, 1) for code in ALL[name]]
    for at, code in _each(node, story, points[offset::stride]):
        where = f"{story.name}, {errno.errorcode[code]} in call {at} ({calls[at - 1]})"
        tally.add(where, _attempt(node, story, failing(at, code)))
    return tally


@dataclass(slots=True)
class Lasting(Fault):
    """From call number `at` on, every call that can say so fails with `code`."""

    code: int = errno.EIO

    def strike(self, name: str) -> None:
        self.calls.append(name)
        if len(self.calls) >= self.at and self.code in FAILING[name]:
            raise OSError(self.code, os.strerror(self.code))


def lasting(node: Whole, story: Story, tally: Tally, stride: int = 1, offset: int = 0) -> Tally:
    """From every call on, let the disk be full, read-only or broken until a person mends it."""
    total = len(measure(node, story, tuple(FAILING)))
    codes = (errno.ENOSPC, errno.EROFS, errno.EIO, errno.EMFILE)
    points = [(at, code) for at in range(1, total + 1) for code in codes]
    for at, code in _each(node, story, points[offset::stride]):
        where = f"{story.name}, {errno.errorcode[code]} from call {at} on"
        tally.add(where, _attempt(node, story, Lasting(at, void, code=code)))
    return tally


def void(_: str) -> None:
    """Take a call and do nothing."""


def _attempt(node: Whole, story: Story, fault: Fault) -> list[str]:
    report, found = None, []
    try:
        with injected(fault, tuple(FAILING)):
            report = story.act(node)
    except CertrotdError:
        pass
    except Exception as e:  # noqa: BLE001  # any other exception is what is looked for
        found.append(f"not translated: {type(e).__name__}: {e}")
    found += node.faults(bootstrap=story.bootstrap)
    return found + told(node, report) + recover(node, story)


@contextmanager
def short_writes() -> Iterator[None]:
    """Let each write(2) take a third of what it is given."""
    real = os.write

    def write(fd: int, data: bytes) -> int:
        return real(fd, data[: len(data) // 3 + 1])

    os.write = write  # type: ignore[assignment]
    try:
        yield
    finally:
        os.write = real


@contextmanager
def lying_flush(at: int) -> Iterator[list[str]]:
    """Let flush number `at` fail and drop what was to be written, as Linux does; then lie."""
    real = {"fsync": os.fsync, "fdatasync": os.fdatasync}
    calls: list[str] = []

    def wrap(name: str) -> Callable[[int], None]:
        def call(fd: int) -> None:
            calls.append(name)
            if len(calls) != at:
                return
            if stat.S_ISREG(os.fstat(fd).st_mode):
                os.truncate(fd, max(0, os.fstat(fd).st_size - 40))
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        return call

    for name in real:
        setattr(os, name, wrap(name))
    try:
        yield calls
    finally:
        for name, function in real.items():
            setattr(os, name, function)


def lies(node: Whole, story: Story, tally: Tally, stride: int = 1, offset: int = 0) -> Tally:
    """Let every flush fail once, its data dropped, and every later one report success."""
    story.prepare(node)
    with lying_flush(0) as calls:
        story.act(node)
    for at in _each(node, story, list(range(1 + offset, len(calls) + 1, stride))):
        report, found = None, []
        try:
            with lying_flush(at):
                report = story.act(node)
        except CertrotdError:
            pass
        found += node.faults(bootstrap=story.bootstrap) + told(node, report)
        where = f"{story.name}, flush {at} of {len(calls)} failed"
        tally.add(where, found + recover(node, story))
    return tally
