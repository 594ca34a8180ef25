"""Commands about this node's own kubelet: status, guard-check, renew, bootstrap."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from certrotd.cli.kubeletviews import WORDS
from certrotd.cli.looking import NAGIOS_UNKNOWN
from certrotd.cli.options import config_option, emit, metrics_option, opened, output_option
from certrotd.cli.outcome import ExitCode
from certrotd.cli.rotating import opened_for_work

if TYPE_CHECKING:
    from pathlib import Path

    from certrotd.app import App
    from certrotd.core.model.kubelets import Purpose
    from certrotd.kubelets.progress import Progress
    from certrotd.kubelets.tending import Tending


@click.command("status")
@config_option
@output_option
def kubelet_status(config_path: Path, form: str) -> None:
    """Show what this node's kubelet has, and what certrotd is doing about it; asks nobody.

    \b
    Examples:
      certrotd kubelet status
      certrotd kubelet status -o json | jq '.kubelet[] | select(.cause != null)'
    """
    from certrotd.cli.kubeletviews import sights_data, sights_text

    app = opened(config_path)
    tending, now = _configured(app, config_path), app.world.clock.now()
    sights = tending.glance()
    emit(form, {"kubelet": sights_data(sights)}, lambda: sights_text(sights, now))


@click.command("guard-check")
@config_option
@metrics_option
def guard_check(config_path: Path, form: str) -> None:
    """Check this node's kubelet certificates for a monitoring system; reads files alone.

    One line, performance data, exit code 0, 1, 2 or 3. Critical: one is missing, damaged or has
    ended; the kubeconfig is of no use; the client certificate has ended and there is no bootstrap
    credential. Warning: one is about to end or lacks a name, a request waits for too long, or
    request after request did not help. Needs to read what only root may, as `certrotd run` does.

    \b
    Examples:
      certrotd kubelet guard-check
      certrotd kubelet guard-check -o json | jq '.concerns[].fix'
      certrotd kubelet guard-check -o prometheus
    """
    from certrotd.cli.guarding import own_data, own_metrics, own_text, unknown_metrics
    from certrotd.core.errors import CertrotdError
    from certrotd.kubelets.checking import concerns

    try:
        app = opened(config_path)
        tending, now = _configured(app, config_path), app.world.clock.now()
        sights = tending.glance()
        found = concerns(tending.renewer, sights, now)
    except CertrotdError as e:
        told = f"CERTROTD KUBELET UNKNOWN - {str(e).splitlines()[0]}"
        unknown = {"state": "UNKNOWN", "concerns": [], "error": str(e)}
        emit(form, unknown, lambda: told, lambda: unknown_metrics("own"))
        sys.exit(NAGIOS_UNKNOWN)
    emit(
        form,
        own_data(found, sights),
        lambda: own_text(found, sights, now),
        lambda: own_metrics(found, sights, now),
    )
    sys.exit(found[0].level if found else 0)


@click.command()
@config_option
@output_option
@click.option(
    "--purpose",
    type=click.Choice(tuple(WORDS.values())),
    multiple=True,
    help="Only this one; all that are configured if left out.",
)
@click.option("--if-due", is_flag=True, help="Only what the daemon would replace, too.")
def renew(config_path: Path, form: str, purpose: tuple[str, ...], *, if_due: bool) -> None:
    """Replace this node's kubelet certificates now, and wait until the kubelet uses them.

    Asks the cluster as the node: with its present client certificate, or with the configured
    bootstrap credential if that one has ended. The key is made here. What comes back must be
    exactly what was asked for, goes into the kubelet's own store, and the kubelet is restarted:
    pods keep running. If it is interrupted, `certrotd run` or the next `renew` goes on with the
    same request.

    \b
    Examples:
      certrotd kubelet renew
      certrotd kubelet renew --purpose serving    # after the node got another address
      certrotd kubelet renew --if-due
    \b
    Exit codes:
      0 in use   1 denied, failed or unanswered   2 usage   3 configuration
      5 another certrotd is at it   75 too many requests lately, or kube-apiserver is away
    """
    app = opened_for_work(config_path, form)
    tending = _configured(app, config_path)
    wanted = [each for each in tending.purposes if not purpose or WORDS[each] in purpose]
    if len(wanted) < len(set(purpose)):
        known = ", ".join(WORDS[each] for each in tending.purposes)
        raise click.BadParameter(f"kubelet.purposes has only: {known}", param_hint="--purpose")
    _report(app, form, tending, wanted, asked=not if_due)


@click.command()
@config_option
@output_option
@click.option("--force", is_flag=True, help="Although the node has a good client certificate.")
def bootstrap(config_path: Path, form: str, *, force: bool) -> None:
    """Get the node's first client certificate with the bootstrap credential, and its kubeconfig.

    For a new node, and for one that was off for so long that its certificate has ended. The
    credential is a bootstrap token: from a file, a systemd credential or Vault.

    \b
    Example, with a token of an hour:
      kubeadm token create --ttl 1h                       # on a control-plane node
      install -m 0600 /dev/stdin /etc/certrotd/bootstrap  # here; paste it, end with Ctrl-D
      certrotd kubelet bootstrap
    \b
    Exit codes: as for `certrotd kubelet renew`.
    """
    from certrotd.core.model.kubelets import Purpose

    app = opened_for_work(config_path, form)
    tending = _configured(app, config_path)
    held = tending.renewer.means.store.read(Purpose.CLIENT)
    # Without --force a good certificate is left alone; its kubeconfig is still seen to.
    needed = force or not held.usable(app.world.clock.now())
    _report(app, form, tending, [Purpose.CLIENT], asked=force, token=needed)


def _configured(app: App, path: Path) -> Tending:
    """Return what renews this node's certificates.

    Raises:
        ConfigError: the configuration has no section for it.
    """
    from certrotd.core.errors import ConfigError, Problem

    if app.kubelet is None:
        message = "is required for this; config/certrotd.yaml shows it with all its keys"
        raise ConfigError((Problem(file=str(path), line=0, key="kubelet", message=message),))
    return app.kubelet


def _report(
    app: App,
    form: str,
    tending: Tending,
    purposes: list[Purpose],
    *,
    asked: bool,
    token: bool = False,
) -> None:
    """Renew one after the other, show what came of it, end with its exit code."""
    from certrotd.cli.kubeletviews import progress_data, progress_text

    def tell(progress: Progress) -> None:
        click.echo(f"  {progress.detail}", err=True)

    done: list[Progress] = []
    try:
        for purpose in purposes:
            done.append(tending.renew(purpose, asked=asked, token=token, tell=tell))
            if _code(done[-1]) is not ExitCode.OK:
                break
    finally:
        app.close()
    emit(form, {"kubelet": [progress_data(each) for each in done]}, lambda: progress_text(done))
    sys.exit(max(map(_code, done), default=ExitCode.OK))


def _code(progress: Progress) -> ExitCode:
    from certrotd.kubelets.progress import State

    if progress.state in (State.FRESH, State.RENEWED):
        return ExitCode.OK
    return ExitCode.FAILED if progress.state is State.FAILED else ExitCode.DEFERRED
