"""Whatever somebody does to a configuration file, certrotd answers with faults."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from certrotd.config import load
from certrotd.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

SAMPLE = Path("config/certrotd.yaml").read_text()
LINES = SAMPLE.splitlines()
PRESETS = [each.read_text() for each in sorted(Path("config/presets").iterdir())]
OVER = """
components:
  kube-apiserver:
    after: [etcd]
    settle: 3s
    activation: {auto: {loopback: null, restart: {timeout: 5s}}}
    proofs: [{tls: {address: "127.0.0.1:6443", certificate: apiserver}}]
    certificates:
      apiserver: {dns_names: [one], outputs: [{combined: /pki/a.pem}]}
      front-proxy-client: null
"""
SNIPPETS = ["\t", "*server", "&a", "<<: *both", "- ", "{", "]", "'", "null", "!!set", "? ", "x-a:"]
junk = st.sampled_from(SNIPPETS) | st.text(max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mutations") / "certrotd.yaml"


def answer(path: Path) -> None:
    """Load; a configuration or faults in the form that editors know are both fine."""
    try:
        load(path)
    except ConfigError as e:
        problems = e.problems
    else:
        return
    assert problems
    places = [(each.file, each.line) for each in problems]
    assert places == sorted(places)
    assert {file for file, _ in places if not file.startswith("preset ")} <= {str(path)}
    assert all(each.message for each in problems)


@settings(max_examples=40)
@given(line=st.integers(0, len(LINES) - 1), column=st.integers(0, 60), text=junk)
def test_text_put_anywhere(path: Path, line: int, column: int, text: str) -> None:
    lines = [*LINES]
    lines[line] = lines[line][:column] + text + lines[line][column:]
    path.write_text("\n".join(lines), encoding="utf-8", errors="replace")
    answer(path)


@settings(max_examples=40)
@given(data=st.data())
def test_lines_lost_or_doubled(path: Path, data: st.DataObject) -> None:
    times = data.draw(st.dictionaries(st.integers(0, len(LINES) - 1), st.sampled_from([0, 2])))
    path.write_text("\n".join(line for i, line in enumerate(LINES) for _ in range(times.get(i, 1))))
    answer(path)


@settings(max_examples=100)
@given(data=st.data())
def test_any_value_anywhere(path: Path, data: st.DataObject) -> None:
    document = yaml.safe_load(SAMPLE)
    holders = list(inside(document))
    for _ in range(data.draw(st.integers(1, 4))):
        holder, key = data.draw(st.sampled_from(holders))
        holder[key] = data.draw(values)
    path.write_text(yaml.safe_dump(document))
    answer(path)


@settings(max_examples=40)
@given(data=st.data())
def test_any_key_lost(path: Path, data: st.DataObject) -> None:
    document = yaml.safe_load(SAMPLE)
    holders = [(holder, key) for holder, key in inside(document) if isinstance(holder, dict)]
    for _ in range(data.draw(st.integers(1, 4))):
        holder, key = data.draw(st.sampled_from(holders))
        holder.pop(key, None)
    path.write_text(yaml.safe_dump(document))
    answer(path)


@settings(max_examples=150)
@given(data=st.data())
def test_any_value_in_a_preset_and_over_it(path: Path, data: st.DataObject) -> None:
    document = yaml.safe_load(data.draw(st.sampled_from(PRESETS)))
    document |= yaml.safe_load(OVER)
    holders = list(inside(document))
    for _ in range(data.draw(st.integers(1, 4))):
        holder, key = data.draw(st.sampled_from(holders))
        holder[key] = data.draw(values)
    path.write_text(yaml.safe_dump(document))
    answer(path)


@settings(max_examples=40)
@given(st.binary(max_size=200))
def test_any_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    answer(path)


def inside(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place in a document: what holds it, and the key or index."""
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield value, key
            yield from inside(each)
