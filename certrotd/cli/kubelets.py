"""Commands about kubelets, which are never part of the daily run."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

import click

from certrotd.cli.looking import NAGIOS_UNKNOWN
from certrotd.cli.options import config_option, emit, metrics_option, output_option

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from certrotd.cluster import Watch
    from certrotd.core.model.kubelets import SubmittedRequest, Verdict


@click.group()
def kubelet() -> None:
    """Look after kubelets, which are never part of the daily run.

    A kubelet replaces its certificates by itself. On a node `certrotd run` is the net below: it
    acts when one is missing, damaged, ended or about to end, or lacks a name of the node.

    \b
    Examples:
      certrotd kubelet status                 # on a node: what its kubelet has
      certrotd kubelet renew                  # on a node: replace it now
      certrotd kubelet bootstrap              # on a node: the first one, or after the last ended
      certrotd kubelet approve                # on the control plane: approve and sign
      certrotd kubelet approve --dry-run      # what it would do with the requests there are
      certrotd kubelet guard                  # is the path open?
      certrotd kubelet guard-check            # on a node: is its kubelet well provided for?
    """


@kubelet.command()
@config_option
@output_option
@click.option("--once", is_flag=True, help="Look at all requests there are, once, and end.")
@click.option("--dry-run", is_flag=True, help="Only show the verdicts; asks for no Lease.")
def approve(config_path: Path, form: str, *, once: bool, dry_run: bool) -> None:
    """Approve what kubelets ask for, exactly as the policy allows, and have it signed.

    Runs until SIGTERM; SIGHUP reads the configuration again. Of several instances the one with
    the Lease works. Whatever is not right now stays pending and is looked at again; only what can
    never become right is denied. Every verdict is an Event and a line of the log.

    \b
    Examples:
      certrotd kubelet approve -c /etc/certrotd/certrotd.yaml
      certrotd kubelet approve --dry-run -o json | jq '.requests[] | select(.ruling != "approved")'
    """
    from certrotd.cluster import serve_approver, watch
    from certrotd.config import load
    from certrotd.logs import open_log, silent

    config = load(config_path)
    settings = config.settings.log
    if dry_run:
        shown = watch(config, silent, threading.Event())
        found = list(_verdicts(shown))
        shown.close()
        emit(form, {"requests": [_data(*each) for each in found]}, lambda: _text(found))
        return
    log = open_log(sys.stderr, form=settings.format, level=settings.level)
    if once:
        now = watch(config, log, threading.Event())
        for request in now.requests.everything():
            now.approver.see(request)
        now.close()
        return
    serve_approver(config_path, log)


@kubelet.command()
@config_option
@metrics_option
@click.option("--kubeconfig", type=click.Path(), help="As whom to look, e.g. the admin's.")
def guard(config_path: Path, form: str, kubeconfig: str | None) -> None:
    """Check that kubelets can ask, are approved, and are signed for; each finding names its fix.

    Looks at requests that wait, at denials, at rights of nodes and of new nodes, at bootstrap
    tokens and at the signing CA. For a monitoring system: exit code 0, 1, 2 or 3.

    \b
    Examples:
      certrotd kubelet guard --kubeconfig /etc/kubernetes/admin.conf
      certrotd kubelet guard -o json | jq '.concerns[].fix'
      certrotd kubelet guard -o prometheus
    """
    from certrotd import cluster
    from certrotd.cli.guarding import guard_data, guard_metrics, guard_text, unknown_metrics
    from certrotd.config import load
    from certrotd.core.errors import CertrotdError

    try:
        looking = cluster.guard(load(config_path), kubeconfig)
        found = looking.look(cluster.now())
    except CertrotdError as e:
        told = f"CERTROTD KUBELETS UNKNOWN - {str(e).splitlines()[0]}"
        unknown = {"state": "UNKNOWN", "concerns": [], "error": str(e)}
        emit(form, unknown, lambda: told, lambda: unknown_metrics("guard"))
        sys.exit(NAGIOS_UNKNOWN)
    emit(
        form,
        guard_data(found, looking.figures),
        lambda: guard_text(found, looking.figures),
        lambda: guard_metrics(found, looking.figures, looking.endings),
    )
    sys.exit(found[0].level if found else 0)


def _verdicts(shown: Watch) -> Iterator[tuple[SubmittedRequest, Verdict]]:
    """Judge all that nobody ruled on yet."""
    for request in shown.requests.everything():
        if request.is_open:
            yield request, shown.approver.verdict(request)


def _data(request: SubmittedRequest, verdict: Verdict) -> dict[str, object]:
    return {
        "request": request.name,
        "signer": request.signer,
        "requester": request.username,
        "ruling": str(verdict.ruling),
        "rule": verdict.rule,
        "detail": verdict.detail,
    }


def _text(found: list[tuple[SubmittedRequest, Verdict]]) -> str:
    from certrotd.cli.tables import table

    if not found:
        return "No request waits for a verdict."
    rows = [
        (request.name, request.username, verdict.ruling, verdict.rule, verdict.detail)
        for request, verdict in found
    ]
    return table(("REQUEST", "REQUESTER", "VERDICT", "RULE", "DETAIL"), rows)
