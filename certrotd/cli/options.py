"""What most commands share: the configuration, the output format, the names of components."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from click.shell_completion import CompletionItem

    from certrotd.app import App
    from certrotd.core.model import ComponentName
    from certrotd.ports import Log

DEFAULT_CONFIG = "/etc/certrotd/certrotd.yaml"

config_option = click.option(
    "-c",
    "--config",
    "config_path",
    default=DEFAULT_CONFIG,
    envvar="CERTROTD_CONFIG",
    show_default=True,
    show_envvar=True,
    type=click.Path(path_type=Path),
    help="The configuration file; conf.d/*.yaml beside it is read too.",
)
output_option = click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    show_default=True,
    help="A table for people, or JSON or YAML for programs.",
)
metrics_option = click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["table", "json", "yaml", "prometheus"]),
    default="table",
    show_default=True,
    help="Text for people, JSON or YAML for programs, or metrics for node_exporter's textfiles.",
)


def _complete(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the components of the configuration that is already on the line, or the default."""
    from click.shell_completion import CompletionItem

    from certrotd.config import load
    from certrotd.core.errors import ConfigError

    try:
        config = load(context.params.get("config_path") or Path(DEFAULT_CONFIG))
    except ConfigError:
        return []
    names = (each.name for each in config.components)
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def component_arguments(function: Callable[..., Any]) -> Callable[..., Any]:
    """Take any number of components."""
    return click.argument(
        "components", nargs=-1, metavar="[COMPONENT]...", shell_complete=_complete
    )(function)


def component_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    """Take one component."""
    return click.argument("component", shell_complete=_complete)(function)


def opened(path: Path, log: Log | None = None) -> App:
    """Read the configuration and assemble everything.

    Raises:
        ConfigError: the configuration is faulty.
    """
    # Imported here: `--help` must not wait for it.
    from certrotd.app import assemble
    from certrotd.config import load
    from certrotd.logs import silent

    return assemble(load(path), log or silent)


def known(app: App, names: Sequence[str]) -> frozenset[ComponentName]:
    """Check component names given on the command line.

    Raises:
        click.BadParameter: one is not configured; the nearest known one is named.
    """
    configured = {str(each.name): each.name for each in app.config.components}
    for name in names:
        if name not in configured:
            import difflib

            near = difflib.get_close_matches(name, configured, 1)
            advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(configured)}"
            raise click.BadParameter(f"there is no component {name}; {advice}")
    return frozenset(configured[name] for name in names)


def emit(
    form: str, data: object, text: Callable[[], str], metrics: Callable[[], str] | None = None
) -> None:
    """Print data or metrics for programs, or text for people."""
    if form == "prometheus" and metrics:
        click.echo(metrics(), nl=False)
    elif form == "json":
        click.echo(json.dumps(data, indent=2))
    elif form == "yaml":
        import yaml

        click.echo(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), nl=False)
    else:
        click.echo(text())
