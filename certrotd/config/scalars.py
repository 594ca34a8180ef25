"""The words a configuration value may be written in: durations, times, modes, paths, addresses.

Every parser takes the text as it stands in the file and raises ValueError with a message that
says what would be right. Messages never repeat the text: somebody may have pasted a secret.
"""

from __future__ import annotations

import re
from datetime import time, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Written(NamedTuple):
    """Marks an annotated type as text: how it is read, and how it is written back.

    `write` gives what JSON has for it; `json` are the types that YAML 1.2 may guess for it.
    """

    parse: Callable[[str], object]
    meaning: str
    example: str
    write: Callable[[Any], object] = str
    json: tuple[str, ...] = ("string",)


_MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DURATION = re.compile(r"(?:[0-9]{1,15}(?:ms|[smhdw]))+")
_PART = re.compile(r"([0-9]+)(ms|[smhdw])")
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")
_UNIT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9:_.@\\-]{0,254}")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DNS = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_URL = re.compile(r"https://([^/?#@\s]+)(?:[/?][\x21-\x22\x24-\x7e]*)?")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[\x21-\x7e]+")
_MOUNT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")

LONGEST = timedelta(days=3653)
"""Ten years; anything longer is a slip of the pen."""

_LONGEST_DNS_NAME = 253
_LONGEST_PATH = 4095
_LONGEST_FILE_NAME = 255
_HIGHEST_PORT = 65535
_HIGHEST_COUNT = 10_000


def duration(text: str) -> timedelta:
    """Parse `90s`, `12h`, `7d` or `1d12h`; units ms, s, m, h, d, w."""
    if not _DURATION.fullmatch(text):
        raise ValueError("is no duration; write for example 30s, 12h or 7d")
    milliseconds = sum(int(count) * _MILLISECONDS[unit] for count, unit in _PART.findall(text))
    if milliseconds > LONGEST / timedelta(milliseconds=1):
        raise ValueError("is longer than ten years")
    return timedelta(milliseconds=milliseconds)


def positive_duration(text: str) -> timedelta:
    """Parse a duration that is not zero."""
    parsed = duration(text)
    if not parsed:
        raise ValueError("must be more than zero")
    return parsed


def duration_text(value: timedelta) -> str:
    """Write a duration so that `duration` reads it again: `1d12h`."""
    rest, text = round(value / timedelta(milliseconds=1)), ""
    for unit in ("d", "h", "m", "s", "ms"):
        count, rest = divmod(rest, _MILLISECONDS[unit])
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def time_of_day(text: str) -> time:
    """Parse `HH:MM`, meant in UTC."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("is no time of day; write HH:MM in UTC, for example 03:17")
    return time(int(match[1]), int(match[2]))


def time_text(value: time) -> str:
    """Write a time of day as `HH:MM`."""
    return f"{value:%H:%M}"


def count(text: str) -> int:
    """Parse a whole number from 1 to 10,000."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= _HIGHEST_COUNT:
        raise ValueError(f"must be a whole number from 1 to {_HIGHEST_COUNT}")
    return int(text)


def status(text: str) -> int:
    """Parse an HTTP status (RFC 9110 section 15)."""
    if not re.fullmatch(r"[1-5][0-9]{2}", text):
        raise ValueError("is no HTTP status; write for example 200")
    return int(text)


def boolean(text: str) -> bool:
    """Parse `true` or `false`."""
    if text not in ("true", "false"):
        raise ValueError("must be true or false")
    return text == "true"


def file_mode(text: str) -> int:
    """Parse an octal file mode; bits beyond rw for the owner and r for others are refused."""
    if not re.fullmatch(r"0?[0-7]{3}", text):
        raise ValueError("is no file mode; write three octal digits, for example 0640")
    mode = int(text, 8)
    if mode & 0o111:
        raise ValueError("would make the file executable; use 0600, 0640 or 0644")
    if mode & 0o022:
        raise ValueError("would let group or others write the file; use 0600, 0640 or 0644")
    if not mode & 0o400:
        raise ValueError("would not let the owner read the file; use 0600, 0640 or 0644")
    return mode


def mode_text(value: int) -> str:
    """Write a file mode as four octal digits."""
    return f"{value:04o}"


def absolute_path(text: str) -> str:
    """Accept an absolute path without `.` or `..` parts and without a trailing slash."""
    if not text.startswith("/"):
        raise ValueError("is not an absolute path: it must start with '/'")
    parts = text.split("/")[1:]
    if any(part in ("", ".", "..") for part in parts):
        raise ValueError("is not a plain path: write it without '//', '.', '..' and a final '/'")
    if not text.isprintable():
        raise ValueError("has characters that cannot be printed")
    sizes = [len(part.encode()) for part in parts]
    if max(sizes) > _LONGEST_FILE_NAME or len(text.encode()) > _LONGEST_PATH:
        raise ValueError("is longer than the kernel allows")
    return text


def plain(text: str) -> str:
    """Accept one line of text that is not empty."""
    if not text or not text.isprintable() or text != text.strip():
        raise ValueError("must be one line of text, not empty, without blanks at its ends")
    return text


def argument(text: str) -> str:
    """Accept one argument of a program; it may be empty and may have several lines."""
    if "\0" in text:
        raise ValueError("has a NUL character in it")
    return text


def name(text: str) -> str:
    """Accept a name of a component, certificate or issuer: letters, digits, `.`, `_`, `-`."""
    if not _NAME.fullmatch(text):
        raise ValueError(
            "is no name; use letters, digits, '.', '_' and '-', at most 100, and begin and end "
            "with a letter or digit"
        )
    return text


def unit(text: str) -> str:
    """Accept the name of a systemd unit (systemd.unit(5))."""
    if not _UNIT.fullmatch(text):
        raise ValueError("is no systemd unit; write for example etcd.service")
    return text


def mount(text: str) -> str:
    """Accept a path inside Vault, such as a mount or a role, without slashes at its ends."""
    if not _MOUNT.fullmatch(text):
        raise ValueError("is no path in Vault; write it without slashes at its ends")
    return text


def dns_name(text: str) -> str:
    """Accept a DNS name as it goes into a SAN (RFC 5280 section 4.2.1.6)."""
    if len(text) > _LONGEST_DNS_NAME or not _DNS.fullmatch(text):
        raise ValueError("is no DNS name")
    if _is_address(text):
        raise ValueError("is an IP address, not a DNS name")
    return text


def address(text: str) -> IPv4Address | IPv6Address:
    """Parse an IP address; a scope (`%eth0`) has no place in a certificate."""
    try:
        parsed = ip_address(text)
    except ValueError:
        raise ValueError("is no IP address") from None
    if "%" in text:
        raise ValueError("is an IP address with a scope; write it without '%'")
    return parsed


def network(text: str) -> IPv4Network | IPv6Network:
    """Parse a network, `address/length` without host bits."""
    try:
        return ip_network(text)
    except ValueError:
        raise ValueError("is no network; write for example 10.0.0.0/8") from None


def host(text: str) -> str:
    """Accept a DNS name or an IP address (IPv6 without brackets)."""
    if not _is_address(text) and (text.startswith("*") or not _DNS.fullmatch(text)):
        raise ValueError("is neither a DNS name nor an IP address")
    return text


def host_port(text: str) -> str:
    """Accept `host:port` or `[ipv6]:port`."""
    left, _, port = text.rpartition(":")
    if not left or not _PORT.fullmatch(port) or int(port) > _HIGHEST_PORT:
        raise ValueError("is no address; write host:port, for example 127.0.0.1:2379")
    if ":" in left and not (left.startswith("[") and left.endswith("]")):
        raise ValueError("is ambiguous; write an IPv6 address in brackets, [::1]:2379")
    bracketed = left.startswith("[")
    if bracketed != (":" in left):
        raise ValueError("has brackets around something that is no IPv6 address")
    host(left[1:-1] if bracketed else left)
    return text


def port(text: str) -> int:
    """Parse a TCP port number."""
    if not _PORT.fullmatch(text) or int(text) > _HIGHEST_PORT:
        raise ValueError("is no port number")
    return int(text)


def https_url(text: str) -> str:
    """Accept an https:// URL with a host, perhaps a port, and without credentials."""
    match = _URL.fullmatch(text)
    if match is None:
        raise ValueError("is no https:// URL without credentials; write https://host:port/path")
    try:
        host_port(match[1] if _has_port(match[1]) else f"{match[1]}:443")
    except ValueError as e:
        raise ValueError(f"is no https:// URL: its host {e}") from None
    return text


def uri(text: str) -> str:
    """Accept a URI as it goes into a SAN (RFC 3986): a scheme and something after it."""
    if not _URI.fullmatch(text):
        raise ValueError("is no URI; write for example spiffe://cluster/etcd")
    return text


def _has_port(authority: str) -> bool:
    return ":" in authority.rpartition("]")[2]


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text
