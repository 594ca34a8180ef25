"""Commands that act: run, rotate, rollback, hold, resume."""

from __future__ import annotations

import signal
import sys
import threading
from typing import TYPE_CHECKING

import click

from certrotd.cli.options import (
    component_argument,
    component_arguments,
    config_option,
    emit,
    known,
    output_option,
)
from certrotd.cli.outcome import ExitCode, of_report

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from certrotd.app import App
    from certrotd.core.model import RunReport
    from certrotd.core.planning import Wish
    from certrotd.ports import Log


@click.command()
@config_option
def run(config_path: Path) -> None:
    """Run as a daemon: look every minute, rotate at the daily slot and whenever it is needed.

    SIGTERM ends it after the step in hand, SIGHUP reads the configuration again, SIGUSR1 rotates
    what is due now. Tells systemd when it is ready and alive (sd_notify, watchdog).

    \b
    Examples:
      certrotd run
      systemctl kill -s USR1 certrotd
    """
    from certrotd.app import serve
    from certrotd.config import load
    from certrotd.logs import open_log

    settings = load(config_path).settings.log
    _leave_no_core()
    serve(config_path, open_log(sys.stderr, form=settings.format, level=settings.level))


@click.command()
@component_arguments
@config_option
@output_option
@click.option("--force", is_flag=True, help="Replace what is fresh, too.")
@click.option("--dry-run", is_flag=True, help="Only show the plan.")
@click.option(
    "--allow-degraded",
    is_flag=True,
    help="Go on with a cluster that works but has less to spare, as etcd with a member down.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def rotate(  # noqa: PLR0913  # one for each option
    components: tuple[str, ...],
    config_path: Path,
    form: str,
    *,
    force: bool,
    dry_run: bool,
    allow_degraded: bool,
    yes: bool,
) -> None:
    """Rotate once what is due, in order, each component proved before the next is touched.

    Without COMPONENT all are meant. On directories that are still empty this is the bootstrap.
    A component that refuses its new certificate gets the old one back, and the run stops.

    \b
    Examples:
      certrotd rotate                        # what is due, after asking
      certrotd rotate --force etcd --yes     # etcd now, whatever its age
      certrotd rotate --dry-run -o json
      certrotd rotate etcd --allow-degraded  # although a member of etcd is down
    \b
    Exit codes:
      0 done   1 failed   2 usage   3 configuration   4 rolled back or on hold
      5 another certrotd is at work   75 deferred, try again later   130 interrupted
    """
    from certrotd.cli.views import plan_data, plan_text
    from certrotd.core.planning import Wish

    app = opened_for_work(config_path, form)
    wish = Wish(components=known(app, components), force=force, allow_degraded=allow_degraded)
    if dry_run or not yes:
        found = app.rotator.plan(wish)
        if dry_run or not found.steps:
            emit(form, plan_data(found), lambda: plan_text(found))
            return
        click.echo(plan_text(found), err=True)
        _ask("Do this now?")
    _report(app, form, lambda: _rotated(app, wish))


@click.command()
@component_argument
@config_option
@output_option
@click.option("--to", "generation", help="A kept generation; `certrotd history` lists them.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def rollback(
    component: str, config_path: Path, form: str, generation: str | None, *, yes: bool
) -> None:
    """Put back the earlier certificates of a component, prove them, and hold rotation.

    \b
    Examples:
      certrotd rollback kube-apiserver
      certrotd rollback etcd --to 20261124T031700Z-9f3a1c --yes
    """
    from certrotd.core.model import GenerationId

    app = opened_for_work(config_path, form)
    (name,) = known(app, (component,))
    if not yes:
        _ask(f"Put back the earlier certificates of {name} and hold rotation?")
    to = GenerationId(generation) if generation else None
    _report(app, form, lambda: app.rotator.rollback(name, to), expected=ExitCode.ROLLED_BACK)


@click.command()
@click.argument("reason", nargs=-1, required=True)
@config_option
def hold(reason: tuple[str, ...], config_path: Path) -> None:
    """Keep rotation from happening on this node until `certrotd resume`.

    \b
    Example:
      certrotd hold etcd maintenance until noon
    """
    from certrotd.ports import Event

    app = opened_for_work(config_path, "table")
    text = " ".join(reason)
    app.world.hold.place(text, app.world.clock.now())
    app.world.log(Event.HOLD_PLACED, reason=text)
    click.echo(f"Rotation is on hold: {text}")


@click.command()
@config_option
def resume(config_path: Path) -> None:
    """End the hold; the daemon goes on within a minute.

    \b
    Example:
      certrotd resume && certrotd plan
    """
    from certrotd.ports import Event

    app = opened_for_work(config_path, "table")
    held = app.world.hold.placed()
    if held is None:
        click.echo("Rotation is not on hold.")
        return
    app.world.hold.lift()
    app.world.log(Event.HOLD_LIFTED, reason=held[0])
    click.echo(f"The hold is lifted. It was: {held[0]}")


def opened_for_work(path: Path, form: str) -> App:
    """Assemble with progress for a watching person, or with the log for everybody else."""
    from certrotd.app import assemble
    from certrotd.cli.narration import narrate
    from certrotd.config import load
    from certrotd.logs import open_log

    config = load(path)
    settings = config.settings.log
    _leave_no_core()
    log: Log
    if settings.format == "auto" and form == "table" and sys.stderr.isatty():
        log = narrate
    else:
        log = open_log(sys.stderr, form=settings.format, level=settings.level)
    return assemble(config, log)


def _leave_no_core() -> None:
    """Let a crash write no memory to a file: private keys are in it.

    Programs started from here have the same limit, and may raise it again.
    """
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))


def _ask(question: str) -> None:
    """Go on only after a yes.

    Raises:
        click.UsageError: there is nobody to ask.
        click.Abort: the answer was no.
    """
    if sys.stdin is None or sys.stdin.closed or not sys.stdin.isatty():
        raise click.UsageError("standard input is no terminal to ask on; give --yes")
    click.confirm(question, abort=True, err=True)


def _rotated(app: App, wish: Wish) -> RunReport:
    """Run with signals that end it between two steps."""
    interrupted = threading.Event()

    def finish(number: int, _frame: object) -> None:
        app.stop.set()
        if number == signal.SIGINT:
            interrupted.set()
            click.echo("Finishing the step in hand; once more to end at once.", err=True)
            signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {each: signal.signal(each, finish) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        report = app.rotator.run(wish)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    if interrupted.is_set() and of_report(report) is ExitCode.DEFERRED:
        raise KeyboardInterrupt
    return report


def _report(
    app: App,
    form: str,
    work: Callable[[], RunReport],
    expected: ExitCode = ExitCode.OK,
) -> None:
    """Do the work, print its report, end with its exit code."""
    from certrotd.cli.views import report_data, report_text

    try:
        report = work()
    finally:
        app.close()
    emit(form, report_data(report), lambda: report_text(report))
    code = of_report(report)
    if code is not expected:
        sys.exit(code)
