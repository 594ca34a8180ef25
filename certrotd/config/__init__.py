"""From bytes to a frozen Config: nothing past this package sees a dict or an environment."""

# Everything is imported where it is used: `certrotd --help` needs none of it.
# ruff: noqa: PLC0415

from __future__ import annotations

from typing import TYPE_CHECKING

from certrotd.config.configuration import Config

if TYPE_CHECKING:
    from pathlib import Path

    from certrotd.config.source import Location, Source

__all__ = ["Config", "json_schema", "load", "shown", "traced"]


def load(path: Path) -> Config:
    """Read, validate and check a configuration file with its `conf.d/*.yaml`.

    Raises:
        ConfigError: with every fault, sorted by file and line; nothing has been done.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[Config, Source]:
    from certrotd.config import expansion, source, validation
    from certrotd.config.build import build

    read = expansion.expand(source.read(path))
    return build(path, read, validation.validate(read)), read


def json_schema() -> dict[str, object]:
    """Return the JSON Schema (2020-12) of the configuration file."""
    from certrotd.config import schema

    return schema.json_schema()


def shown(config: Config, *, redacted: bool = False) -> dict[str, object]:
    """Return the effective configuration in the shape of the file, as plain data.

    Args:
        config: A loaded configuration.
        redacted: Leave out what identifies the node to Vault, and arguments of programs.
    """
    from certrotd.config import showing

    return showing.shown(config, redacted=redacted)


def traced(path: Path, *, redacted: bool = False) -> tuple[dict[str, object], dict[Location, str]]:
    """Return what `shown` does, and for each value in it where it comes from.

    That is `file:line`, `default`, or `preset NAME:line` with the facts that went into it.

    Raises:
        ConfigError: the configuration is faulty.
    """
    from certrotd.config import origins, showing

    config, read = _read(path)
    data = showing.shown(config, redacted=redacted)
    return data, origins.origins(data, read)
