"""From bytes to a frozen Config: nothing past this package sees a dict or an environment."""

# Everything is imported where it is used: `certrotd --help` needs none of it.
# ruff: noqa: PLC0415

from __future__ import annotations

from typing import TYPE_CHECKING

from certrotd.config.configuration import Config

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Config", "load"]


def load(path: Path) -> Config:
    """Read, validate and check a configuration file with its `conf.d/*.yaml`.

    Raises:
        ConfigError: with every fault, sorted by file and line; nothing has been done.
    """
    from certrotd.config import source, validation
    from certrotd.config.build import build

    read = source.read(path)
    return build(path, read, validation.validate(read))
