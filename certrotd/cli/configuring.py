"""Commands about the configuration itself, and shell completion."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from certrotd.cli.initialising import init
from certrotd.cli.options import config_option, emit, output_option
from certrotd.cli.origins import commented, leaves
from certrotd.cli.outcome import ExitCode
from certrotd.core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@click.group()
def config() -> None:
    """Make, validate, describe and show the configuration."""


config.add_command(init)


@config.command()
@config_option
@output_option
def validate(config_path: Path, form: str) -> None:
    """Check the configuration and name every fault with file, line and key.

    \b
    Example:
      certrotd config validate -c ./certrotd.yaml && systemctl reload certrotd
    """
    from certrotd.config import load

    try:
        loaded = load(config_path)
    except ConfigError as e:
        if form == "table":
            raise
        problems = [
            {"file": p.file, "line": p.line, "key": p.key, "message": p.message} for p in e.problems
        ]
        emit(form, {"valid": False, "problems": problems}, str)
        sys.exit(ExitCode.CONFIG)
    count = sum(len(each.certificates) for each in loaded.components)
    data = {
        "valid": True,
        "problems": [],
        "components": len(loaded.components),
        "certificates": count,
    }
    told = f"{config_path} is valid: {len(loaded.components)} components, {count} certificates."
    emit(form, data, lambda: told)


@config.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors.

    \b
    Example:
      certrotd config schema > certrotd.schema.json
      # first line of certrotd.yaml: # yaml-language-server: $schema=certrotd.schema.json
    """
    from certrotd.config import json_schema

    click.echo(json.dumps(json_schema(), indent=2))


@config.command()
@config_option
@click.option("--redacted", is_flag=True, help="Leave out what identifies this node to Vault.")
@click.option("--origin", is_flag=True, help="Say of each value where it comes from.")
@click.option("-o", "--output", "form", type=click.Choice(["yaml", "json"]), default="yaml")
def show(config_path: Path, form: str, *, redacted: bool, origin: bool) -> None:
    """Print the configuration as it is in force: files merged, preset and defaults filled in.

    With --origin each value says `file:line`, `default`, or `preset NAME:line` (see `certrotd
    presets show --layout NAME`) with the facts that went into it; in YAML as a comment, in JSON as
    one object for each value.

    \b
    Examples:
      certrotd config show --redacted > for-the-bug-report.yaml
      certrotd config show --origin | grep settle
    """
    from certrotd.config import load, shown, traced

    if not origin:
        emit(form, shown(load(config_path), redacted=redacted), str)
        return
    data, places = traced(config_path, redacted=redacted)
    if form == "yaml":
        click.echo(commented(data, places), nl=False)
    else:
        emit(form, [each._asdict() for each in leaves(data, places)], str)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    Examples:
      certrotd completion bash > /etc/bash_completion.d/certrotd
      certrotd completion zsh > "${fpath[1]}/_certrotd"
      certrotd completion fish > ~/.config/fish/completions/certrotd.fish
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"no completion for {shell}")
    root = click.get_current_context().find_root().command
    click.echo(found(root, {}, "certrotd", "_CERTROTD_COMPLETE").source())
