"""The metrics of the guards, read by a strict reader of the format."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from certrotd.cli.exposition import Metric, exposition
from certrotd.cli.guarding import guard_metrics, unknown_metrics
from certrotd.kubelets.concerns import Concern, Ending, Figures, Level, Rule
from tests.exposition import Samples, parse

AT = datetime(2026, 12, 1, tzinfo=UTC)
FIGURES = Figures(
    pending=2, oldest_pending=90.5, unsigned=1, issued=7, denied=3, failed=4,
    approved=6, signed=5, refused=2, kubelets=9, unread=8,
)  # fmt: skip


def value(samples: Samples, metric: str, /, **labels: str) -> float:
    return samples[f"certrotd_kubelet_{metric}", frozenset(labels.items())]


def concern(level: Level, rule: Rule) -> Concern:
    return Concern(level=level, rule=rule, text='a "text"\nof two lines', fix="do it")


@pytest.mark.parametrize(
    "wicked", ['a"b', "a\\", 'a\\"b', "a\nb", "a\\nb", '"} 1\nforged{a="', "Ä\u2028ß", "", "a\rb"]
)
def test_whatever_a_label_or_a_meaning_holds_comes_back(wicked: str) -> None:
    samples = (({"name": wicked, "other": "x"}, 1.5), ({"name": "plain", "other": wicked}, 2))
    text = exposition([Metric(name="m", meaning=f"of {wicked}", samples=samples)])
    assert parse(text) == {("m", frozenset(labels.items())): at for labels, at in samples}
    assert text.count("\n") == 4


def test_every_figure_is_told() -> None:
    got = parse(guard_metrics((), FIGURES, ()))
    states = ("pending", "approved", "issued", "denied", "failed")
    assert [value(got, "requests", state=each) for each in states] == [2, 1, 7, 3, 4]
    outcomes = ("approved", "signed", "refused")
    assert [value(got, "requests_last_hour", outcome=each) for each in outcomes] == [6, 5, 2]
    assert value(got, "oldest_pending_request_seconds") == 90.5
    assert (value(got, "nodes"), value(got, "nodes_unread")) == (9, 8)
    assert value(got, "guard_state") == 0


def test_each_rule_has_each_level_whether_there_is_a_concern_or_not() -> None:
    found = (concern(Level.CRITICAL, Rule.PENDING), concern(Level.WARNING, Rule.TOKENS))
    got = parse(guard_metrics((*found, found[0]), FIGURES, ()))
    judged = {labels: at for (name, labels), at in got.items() if name.endswith("_concern")}
    assert len(judged) == len(Rule) * 3
    assert sum(judged.values()) == 2
    assert value(got, "concern", rule="pending", level="critical") == 1
    assert value(got, "concern", rule="tokens", level="warning") == 1
    assert value(got, "guard_state") == 2


def test_what_could_not_be_looked_at_has_no_figures() -> None:
    unseen = (concern(Level.UNKNOWN, Rule.REQUESTS), concern(Level.UNKNOWN, Rule.SERVING))
    names = {name for name, _ in parse(guard_metrics(unseen, Figures(), ()))}
    assert names == {"certrotd_kubelet_guard_state", "certrotd_kubelet_concern"}
    assert parse(unknown_metrics("guard")) == {("certrotd_kubelet_guard_state", frozenset()): 3}


def test_ends_of_certificates_and_of_two_authorities_with_one_name() -> None:
    endings = (
        Ending(of="serving", name="node-1", at=AT),
        Ending(of="signing_ca", name='the "CA"\\', at=AT),
        Ending(of="signing_ca", name='the "CA"\\', at=AT + timedelta(days=9)),
    )
    got = parse(guard_metrics((), FIGURES, endings))
    name = "certificate_expiry_timestamp_seconds"
    for each in endings[:2]:
        assert value(got, name, certificate=each.of, name=each.name) == AT.timestamp()


@pytest.mark.parametrize(
    "text",
    [
        "m 1\n",
        "# HELP m x\n# TYPE m gauge\nm 1",
        "# HELP m x\n# TYPE m gauge\nm 1\nm 2\n",
        "# HELP m x\nm 1\n",
        "# TYPE m gauge\nm 1\n",
        '# HELP m x\n# TYPE m gauge\nm{a="b"c"} 1\n',
        '# HELP m x\n# TYPE m gauge\nm{a="\\x"} 1\n',
        "# HELP m x\n# TYPE m gauge\nn 1\n",
        "# HELP m x\n# TYPE m gauge\nm one\n",
        "# HELP m x\n# TYPE m gauge\n\nm 1\n",
    ],
)
def test_the_reader_is_strict(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # the reader raises nothing else
        parse(text)
