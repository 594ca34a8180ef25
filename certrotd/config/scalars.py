"""The words a configuration value may be written in: durations, times, modes, paths, addresses.

Every parser takes the text as it stands in the file and raises ValueError with a message that
says what would be right.
"""

import re
from collections.abc import Callable
from datetime import time, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"(?:\d+(?:ms|[smhdw]))+")
_PART = re.compile(r"(\d+)(ms|[smhdw])")
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")
_DNS = re.compile(r"(?!-)(?:\*\.)?[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*")


def duration(text: str) -> timedelta:
    """Parse `90s`, `12h`, `7d` or `1d12h`; units ms, s, m, h, d, w."""
    if not isinstance(text, str) or not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is no duration; write for example 30s, 12h or 7d")
    seconds = sum(int(count) * _UNITS[unit] for count, unit in _PART.findall(text))
    return timedelta(seconds=seconds)


def time_of_day(text: str) -> time:
    """Parse `HH:MM`, meant in UTC."""
    match = _TIME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{text!r} is no time of day; write HH:MM in UTC, for example 03:17")
    return time(int(match[1]), int(match[2]))


def file_mode(text: str) -> int:
    """Parse an octal file mode; bits beyond rw for owner, group and others are refused."""
    if not isinstance(text, str) or not re.fullmatch(r"0?[0-7]{3}", text):
        raise ValueError(f"{text!r} is no file mode; write three octal digits, for example 0640")
    mode = int(text, 8)
    if mode & 0o111:
        raise ValueError(f"mode {text} would make the file executable")
    if mode & 0o022:
        raise ValueError(f"mode {text} would let group or others write the file")
    return mode


def absolute_path(text: str) -> str:
    """Accept an absolute path without `.` or `..` parts and without a trailing slash."""
    if not isinstance(text, str) or not text.startswith("/"):
        raise ValueError(f"{text!r} is not an absolute path")
    parts = text.split("/")[1:]
    if any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{text!r} is not a plain path; write it without '//', '.' and '..'")
    return text


def name(text: str) -> str:
    """Accept a name of a component, certificate or issuer: letters, digits, `.`, `_`, `-`."""
    if not isinstance(text, str) or not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is no name; use letters, digits, '.', '_' and '-'")
    return text


def dns_name(text: str) -> str:
    """Accept a DNS name as it goes into a SAN (RFC 5280 section 4.2.1.6)."""
    if not isinstance(text, str) or len(text) > 253 or not _DNS.fullmatch(text):
        raise ValueError(f"{text!r} is no DNS name")
    return text


def address(text: str) -> IPv4Address | IPv6Address:
    """Parse an IP address."""
    try:
        return ip_address(text)
    except ValueError as e:
        raise ValueError(f"{text!r} is no IP address") from e


def host_port(text: str) -> str:
    """Accept `host:port` or `[ipv6]:port`."""
    host, separator, port = text.rpartition(":") if isinstance(text, str) else ("", "", "")
    if not separator or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} is no address; write host:port")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError(f"{text!r}: write an IPv6 address in brackets, [::1]:2379")
    return text


def https_url(text: str) -> str:
    """Accept an https:// URL with a host and without credentials."""
    if not isinstance(text, str) or not re.fullmatch(r"https://[^/@\s]+(?:/\S*)?", text):
        raise ValueError(f"{text!r} is no https:// URL")
    return text


class Written:
    """Annotation marker: this field is written as text that `parse` understands.

    pydantic is asked for only when a configuration is validated, so the settings themselves can
    be imported without it.
    """

    def __init__(self, parse: Callable[[str], object], description: str, example: str) -> None:
        self.parse = parse
        self.description = description
        self.example = example

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema  # noqa: PLC0415  # start-up time

        return core_schema.no_info_plain_validator_function(self.parse)

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, object]:
        return {"type": "string", "description": self.description, "examples": [self.example]}
