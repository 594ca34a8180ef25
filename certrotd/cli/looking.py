"""Commands that only look: plan, status, check, history, inspect."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from certrotd.cli.options import (
    component_arguments,
    config_option,
    emit,
    known,
    opened,
    output_option,
)
from certrotd.core.errors import CertrotdError

if TYPE_CHECKING:
    from datetime import timedelta
    from pathlib import Path

NAGIOS_UNKNOWN = 3


class Span(click.ParamType["timedelta"]):
    """A span of time as the configuration writes it: `36h`, `3d`."""

    name = "span"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Read it, or fail with a usage error."""
        from certrotd.config.scalars import duration

        try:
            return duration(str(value))
        except ValueError as e:
            self.fail(str(e), param, ctx)


@click.command()
@component_arguments
@config_option
@output_option
@click.option("--force", is_flag=True, help="As if everything were to be replaced.")
def plan(components: tuple[str, ...], config_path: Path, form: str, *, force: bool) -> None:
    """Show what is due and why, in the order in which it would be done.

    Changes nothing and asks no issuer.

    \b
    Examples:
      certrotd plan
      certrotd plan --force kube-apiserver
      certrotd plan -o json | jq '.steps[].component'
    """
    from certrotd.cli.kubeletviews import EXEMPT
    from certrotd.cli.views import plan_data, plan_text
    from certrotd.core.planning import Wish

    app = opened(config_path)
    found = app.rotator.plan(Wish(components=known(app, components), force=force))
    exempt = {"kubelet": EXEMPT} if app.kubelet else {}
    emit(
        form,
        {**plan_data(found), "exempt": exempt},
        lambda: "\n".join([plan_text(found), *exempt.values()]),
    )


@click.command()
@config_option
@output_option
def status(config_path: Path, form: str) -> None:
    """Show every certificate: serial, end, whether the running process uses it, and its state.

    \b
    Examples:
      certrotd status
      certrotd status -o json | jq '.certificates[] | select(.served == false)'
    """
    from certrotd.cli.kubeletviews import sights_data, sights_text
    from certrotd.cli.views import status_data, status_text
    from certrotd.core.planning import Wish

    app = opened(config_path)
    found = app.rotator.plan(Wish())
    sights = app.kubelet.glance() if app.kubelet else ()

    def text() -> str:
        below = ["", sights_text(sights, found.created_at)] if sights else []
        return "\n".join([status_text(found, app), *below])

    emit(form, {**status_data(found, app), "kubelet": sights_data(sights)}, text)


@click.command()
@config_option
@click.option(
    "--warning", type=Span(), default="3d", show_default=True, help="Remaining life to warn below."
)
@click.option(
    "--critical", type=Span(), default="1d", show_default=True, help="Remaining life that alarms."
)
@output_option
def check(config_path: Path, warning: timedelta, critical: timedelta, form: str) -> None:
    """Check for a monitoring system: one line, performance data, exit code 0, 1, 2 or 3.

    Critical: a certificate is missing, unreadable, expired, does not match its key or its trust
    anchors, is not what the process presents, or rotation is on hold. Warning: it is late.

    \b
    Examples:
      certrotd check
      certrotd check --warning 4d --critical 2d
      certrotd check -o json | jq .remarks
    """
    from certrotd.cli.checking import check_data, line, remarks
    from certrotd.core.planning import Wish

    try:
        app = opened(config_path)
        found = app.rotator.plan(Wish())
        judged = remarks(found, app.world.hold.placed(), warning, critical)
    except CertrotdError as e:
        first, *rest = str(e).splitlines()
        more = f" (and {len(rest)} more)" if rest else ""
        told = f"CERTROTD UNKNOWN - {first}{more}"
        emit(form, {"state": "UNKNOWN", "remarks": [str(e)]}, lambda: told)
        sys.exit(NAGIOS_UNKNOWN)
    emit(form, check_data(judged), lambda: line(found, judged))
    sys.exit(judged[0].level if judged else 0)


@click.command()
@component_arguments
@config_option
@output_option
@click.option("-n", "--lines", default=50, show_default=True, help="The last so many entries.")
def history(components: tuple[str, ...], config_path: Path, form: str, lines: int) -> None:
    """Show what was done, oldest first, and which generations a rollback can bring back.

    \b
    Examples:
      certrotd history
      certrotd history kube-apiserver -n 10
    """
    from certrotd.cli.views import history_data, history_text

    app = opened(config_path)
    wanted = known(app, components) or {each.name for each in app.config.components}
    entries = [each for each in app.world.journal.replay() if each.component in wanted][-lines:]
    kept = {
        spec.name: app.world.store.history(spec)
        for component in app.config.components
        if component.name in wanted
        for spec in component.certificates
    }

    def text() -> str:
        told = [f"  {name}: {', '.join(each)}" for name, each in kept.items() if each]
        return "\n".join([history_text(entries), *(["Kept for rollback:", *told] if told else [])])

    emit(form, {"entries": history_data(entries), "kept": kept}, text)


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=str))
@output_option
def inspect(files: tuple[str, ...], form: str) -> None:
    """Show the certificates and keys in PEM files and kubeconfigs, and which belong together.

    Needs no configuration. Shows nothing secret of a key.

    \b
    Examples:
      certrotd inspect /etc/kubernetes/pki/apiserver.crt /etc/kubernetes/pki/apiserver.key
      certrotd inspect /etc/kubernetes/*.conf
    """
    from certrotd.cli.inspecting import inspect_file, inspected_text

    found = [item for path in files for item in inspect_file(path)]
    emit(form, [item.data() for item in found], lambda: inspected_text(found))
    if any(item.problem for item in found):
        sys.exit(1)
