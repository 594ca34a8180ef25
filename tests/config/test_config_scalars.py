"""Properties of the words a configuration value may be written in."""

from __future__ import annotations

from datetime import time, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certrotd.config import scalars
from certrotd.config.settings import words

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Address, IPv6Address

WRITTEN = [
    (name, kind.__metadata__[0])
    for name, kind in vars(words).items()
    if hasattr(kind, "__metadata__")
]
addresses = st.ip_addresses()
ports = st.integers(1, 65535)
labels = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
dns_names = st.lists(labels, min_size=1, max_size=4).map(".".join)


def bracketed(address: IPv4Address | IPv6Address) -> str:
    """Write an address as it stands before a port."""
    return f"[{address}]" if address.version == 6 else str(address)


@pytest.mark.parametrize(("name", "written"), WRITTEN)
def test_every_scalar_reads_its_own_example_and_writes_it_back(
    name: str, written: scalars.Written
) -> None:
    value = written.parse(written.example)
    text = str(written.write(value))
    assert written.parse(text.lower() if name == "Flag" else text) == value


@pytest.mark.parametrize(("name", "written"), WRITTEN)
@settings(max_examples=25)
@given(text=st.text())
def test_no_text_gives_another_error_than_value_error(
    name: str, written: scalars.Written, text: str
) -> None:
    # What stands in every such message anyway is not taken from the text.
    said, always = refusal(written, text), refusal(written, "\0")
    assert len(text) < 4 or text in always or text not in said, name


def refusal(written: scalars.Written, text: str) -> str:
    """Return what is said of a text that is refused."""
    try:
        written.parse(text)
    except ValueError as e:
        return str(e)
    return ""


@given(st.timedeltas(timedelta(0), scalars.LONGEST))
def test_a_duration_that_was_written_is_read_again(value: timedelta) -> None:
    whole = timedelta(milliseconds=value // timedelta(milliseconds=1))
    assert scalars.duration(scalars.duration_text(whole)) == whole


@given(st.lists(st.sampled_from([("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)])))
def test_the_parts_of_a_duration_are_added(parts: list[tuple[str, int]]) -> None:
    text = "".join(f"2{unit}" for unit, _ in parts)
    if parts:
        whole = timedelta(milliseconds=sum(2 * size for _, size in parts))
        assert scalars.duration(text) == whole


@pytest.mark.parametrize("text", ["", "7", "7 d", "-7d", "1.5h", "7D", "d", "7d ", "٣d", "1e3s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        scalars.duration(text)


def test_ten_years_are_the_longest_duration() -> None:
    assert scalars.duration("3653d") == scalars.LONGEST
    with pytest.raises(ValueError, match="longer than ten years"):
        scalars.duration("3653d1ms")


@given(st.times())
def test_a_time_of_day_is_read_as_it_is_written(value: time) -> None:
    minute = value.replace(second=0, microsecond=0, fold=0)
    assert scalars.time_of_day(scalars.time_text(minute)) == minute


@given(st.integers(0, 0o777))
def test_a_mode_lets_nobody_but_its_owner_write_and_nobody_run(mode: int) -> None:
    text = scalars.mode_text(mode)
    if mode & 0o133 or not mode & 0o400:
        with pytest.raises(ValueError, match="would"):
            scalars.file_mode(text)
    else:
        assert scalars.file_mode(text) == mode


@given(addresses, ports)
def test_an_address_with_a_port_is_taken_as_it_is(
    address: IPv4Address | IPv6Address, port: int
) -> None:
    text = f"{bracketed(address)}:{port}"
    assert scalars.host_port(text) == text
    assert scalars.https_url(f"https://{text}/healthz") == f"https://{text}/healthz"


@given(dns_names, ports)
def test_a_name_with_a_port_is_taken_as_it_is(name: str, port: int) -> None:
    assert scalars.host_port(f"{name}:{port}") == f"{name}:{port}"
    assert scalars.https_url(f"https://{name}") == f"https://{name}"


@given(st.ip_addresses(v=6), ports)
def test_an_ipv6_address_with_a_port_needs_brackets(address: IPv6Address, port: int) -> None:
    with pytest.raises(ValueError, match="brackets"):
        scalars.host_port(f"{address}:{port}")


@given(addresses)
def test_an_ip_address_is_never_a_dns_name(address: IPv4Address | IPv6Address) -> None:
    with pytest.raises(ValueError, match="DNS name"):
        scalars.dns_name(str(address))
    assert scalars.address(str(address)) == address


REFUSED: list[tuple[Callable[[str], object], str]] = [
    (scalars.host_port, "localhost"),
    (scalars.host_port, ":2379"),
    (scalars.host_port, "localhost:0"),
    (scalars.host_port, "localhost:65536"),
    (scalars.host_port, "localhost:²"),
    (scalars.host_port, "[localhost]:1"),
    (scalars.host_port, "[::1:1"),
    (scalars.host_port, "[::g]:1"),
    (scalars.host_port, "a b:1"),
    (scalars.host_port, "*.example:1"),
    (scalars.https_url, "http://vault"),
    (scalars.https_url, "https://"),
    (scalars.https_url, "https://user:secret@vault"),
    (scalars.https_url, "https://vault:port"),
    (scalars.https_url, "https://vault/a b"),
    (scalars.https_url, "https://::1/"),
    (scalars.https_url, "https://vault/#part"),
    (scalars.absolute_path, "/"),
    (scalars.absolute_path, "/a/"),
    (scalars.absolute_path, "//a"),
    (scalars.absolute_path, "/a/./b"),
    (scalars.absolute_path, "/a\0b"),
    (scalars.absolute_path, "/a\nb"),
    (scalars.absolute_path, "/" + "a" * 256),
    (scalars.absolute_path, "/ab" * 1366),
    (scalars.address, "10.0.0.256"),
    (scalars.address, "fe80::1%eth0"),
    (scalars.address, "010.0.0.1"),
    (scalars.dns_name, "-a.example"),
    (scalars.dns_name, "a-.example"),
    (scalars.dns_name, "a..example"),
    (scalars.dns_name, "a.example."),
    (scalars.dns_name, "a.*.example"),
    (scalars.dns_name, "a" * 64),
    (scalars.dns_name, ".".join(["abcdefg"] * 32)),
    (scalars.name, ".hidden"),
    (scalars.name, "a/b"),
    (scalars.name, "a" * 101),
    (scalars.unit, "-f"),
    (scalars.unit, "a b.service"),
    (scalars.mount, "/pki"),
    (scalars.mount, "pki/"),
    (scalars.mount, "pki/../sys"),
    (scalars.mount, "pki?x=1"),
    (scalars.time_of_day, "24:00"),
    (scalars.time_of_day, "3:17"),
    (scalars.time_of_day, "03:17:00"),
    (scalars.count, "0"),
    (scalars.count, "10001"),
    (scalars.count, "1_0"),
    (scalars.status, "99"),
    (scalars.status, "2xx"),
    (scalars.boolean, "yes"),
    (scalars.plain, " a"),
    (scalars.plain, "a\nb"),
    (scalars.uri, "no-scheme"),
]


@pytest.mark.parametrize(("parse", "text"), REFUSED)
def test_what_is_written_wrongly_is_refused(parse: Callable[[str], object], text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)
