"""The command line: values to text or JSON, outcomes to exit codes.

Modules that are slow to import are imported inside the commands that need them, so that `--help`
and completion answer at once; a test watches which command loads what.
"""

from __future__ import annotations

import sys

import click

import certrotd
from certrotd.cli.configuring import completion, config
from certrotd.cli.demonstrating import demo
from certrotd.cli.kubelets import kubelet
from certrotd.cli.looking import check, history, inspect, plan, status
from certrotd.cli.outcome import ExitCode, of_error
from certrotd.cli.presetting import presets
from certrotd.cli.renewing import bootstrap, guard_check, kubelet_status, renew
from certrotd.cli.rotating import hold, resume, rollback, rotate, run
from certrotd.core.errors import CertrotdError

_GROUPS = (
    ("Look", (plan, status, check, history, inspect)),
    ("Act", (rotate, run, rollback, hold, resume)),
    ("Kubelets", (kubelet,)),
    ("Set up", (config, presets, demo, completion)),
)


class _Grouped(click.Group):
    """Lists commands by what they do, not by the alphabet."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section for each group."""
        for title, commands in _GROUPS:
            with formatter.section(title):
                formatter.write_dl(
                    [(str(each.name), each.get_short_help_str(80)) for each in commands]
                )
        del ctx


@click.group(
    cls=_Grouped, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(certrotd.__version__, prog_name="certrotd")
def cli() -> None:
    """Replace every control-plane certificate every day, and prove the process uses the new one.

    \b
    Start here:
      certrotd demo                  the whole thing on this machine: no root, no Vault, no cluster
      certrotd config init           write a configuration from what this node runs
      certrotd config validate       check /etc/certrotd/certrotd.yaml
      certrotd plan                  what is due and why
      certrotd rotate                do it
      certrotd run                   do it every day
    """


for _title, _commands in _GROUPS:
    for _command in _commands:
        cli.add_command(_command)
for _command in (kubelet_status, guard_check, renew, bootstrap):
    kubelet.add_command(_command)


def main() -> None:
    """Run the command line; every way out has an exit code."""
    try:
        cli(prog_name="certrotd", standalone_mode=False)
    except click.ClickException as e:
        e.show()
        sys.exit(ExitCode.USAGE)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        sys.exit(ExitCode.INTERRUPTED)
    except CertrotdError as e:
        click.echo(f"Error: {e}", err=True)
        if e.hint:
            click.echo(f"  {e.hint}", err=True)
        sys.exit(of_error(e))
    except Exception:  # noqa: BLE001  # the last word: a defect ends with its traceback and code 1
        import traceback

        from certrotd.logs import without_secrets

        click.echo(without_secrets(traceback.format_exc()), err=True, nl=False)
        click.echo("This is a defect in certrotd; please report it with the lines above.", err=True)
        sys.exit(ExitCode.FAILED)
