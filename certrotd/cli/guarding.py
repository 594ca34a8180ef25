"""What the guards of kubelets found: a line for monitoring, data, and metrics.

`guard` watches the path of all kubelets from the control plane, `own` the kubelet of one node. The
names of fields and metrics are an interface.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from certrotd.cli.exposition import Metric, exposition
from certrotd.cli.kubeletviews import WORDS, sights_data
from certrotd.cli.tables import span
from certrotd.kubelets.concerns import Level, OwnRule, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from certrotd.kubelets.concerns import Concern, Ending, Figures
    from certrotd.kubelets.tending import Sight

PREFIX = "certrotd_kubelet"
OWN = f"{PREFIX}_own"
"""Another one, since one node_exporter may read the files of both, which must not overlap."""
STATE = "The exit code: 0 OK, 1 warning, 2 critical, 3 unknown."
CONCERN = "Whether there is such a concern."


def guard_data(found: tuple[Concern, ...], figures: Figures) -> dict[str, object]:
    """Return everything as data."""
    return {**_concerns(found), "figures": asdict(figures)}


def own_data(found: tuple[Concern, ...], sights: tuple[Sight, ...]) -> dict[str, object]:
    """Return the verdict on a node as data, with what it is about."""
    return {**_concerns(found), "kubelet": sights_data(sights)}


def _concerns(found: tuple[Concern, ...]) -> dict[str, object]:
    return {
        "state": _worst(found).name,
        "concerns": [
            {"state": each.level.name, "rule": str(each.rule), "text": each.text, "fix": each.fix}
            for each in found
        ],
    }


def _worst(found: tuple[Concern, ...]) -> Level:
    return found[0].level if found else Level.OK


def guard_text(found: tuple[Concern, ...], figures: Figures) -> str:
    """Return the line of the plugin, and below it what to do about each concern."""
    data = (
        f"pending={figures.pending} unsigned={figures.unsigned}"
        f" signed_last_hour={figures.signed} refused_last_hour={figures.refused}"
        f" kubelets={figures.kubelets} unread={figures.unread}"
    )
    return _text("KUBELETS", found, "kubelets can ask, are approved, and are signed for", data)


def own_text(found: tuple[Concern, ...], sights: tuple[Sight, ...], now: datetime) -> str:
    """Return the same for the kubelet of a node."""
    good, data = [], []
    for each in sights:
        word, leaf = WORDS[each.purpose], each.held.leaf
        if leaf:
            good.append(f"the {word} certificate ends in {span(leaf.not_after - now)}")
        # U is the plugins' word for a value that could not be had.
        left = f"{int((leaf.not_after - now).total_seconds())}s" if leaf else "U"
        data.append(f"{word}_remaining={left} {word}_requests={len(each.record.recent(now))}")
    return _text("KUBELET", found, ", ".join(good), " ".join(data))


def _text(what: str, found: tuple[Concern, ...], good: str, data: str) -> str:
    text = found[0].text if found else good
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    lines = [f"CERTROTD {what} {_worst(found).name} - {text}{more} | {data}"]
    for each in found:
        lines += [f"{each.level.name}: {each.text}", f"  {each.fix}"]
    return "\n".join(lines)


def unknown_metrics(who: str) -> str:
    """Return that nothing could be looked at, and no figure: `who` is `guard` or `own`."""
    return exposition([_state(who, Level.UNKNOWN)])


def _state(who: str, level: Level) -> Metric:
    return Metric(name=f"{PREFIX}_{who}_state", meaning=STATE, samples=(({}, int(level)),))


def _judged(name: str, found: tuple[Concern, ...], rules: Iterable[Rule | OwnRule]) -> Metric:
    """Return one series for each rule and level, so that none appears and disappears."""
    there = {(each.rule, each.level) for each in found}
    samples = tuple(
        ({"rule": str(rule), "level": level.name.lower()}, int((rule, level) in there))
        for rule in rules
        for level in (Level.WARNING, Level.CRITICAL, Level.UNKNOWN)
    )
    return Metric(name=name, meaning=CONCERN, samples=samples)


def guard_metrics(found: tuple[Concern, ...], figures: Figures, endings: Iterable[Ending]) -> str:
    """Return concerns, numbers and ends of certificates; no number that could not be had."""
    unseen = {each.rule for each in found if each.level is Level.UNKNOWN}
    metrics = [_state("guard", _worst(found)), _judged(f"{PREFIX}_concern", found, Rule)]
    if Rule.REQUESTS not in unseen:
        metrics += _request_metrics(figures)
    if Rule.SERVING not in unseen:
        metrics += [
            _one("nodes", "How many kubelets there are.", figures.kubelets),
            _one("nodes_unread", "How many present nothing to the guard.", figures.unread),
        ]
    # Two CAs may have one name, but two samples must not: the one that ends first counts.
    ends: dict[tuple[str, str], float] = {}
    for each in sorted(endings, key=lambda ending: ending.at, reverse=True):
        ends[each.of, each.name] = each.at.timestamp()
    metrics.append(
        Metric(
            name=f"{PREFIX}_certificate_expiry_timestamp_seconds",
            meaning="When a certificate ends: what a kubelet presents, or a CA that signs.",
            samples=tuple(
                ({"certificate": of, "name": name}, at) for (of, name), at in ends.items()
            ),
        )
    )
    return exposition(metrics)


def _request_metrics(figures: Figures) -> list[Metric]:
    states = {
        "pending": figures.pending,
        "approved": figures.unsigned,
        "issued": figures.issued,
        "denied": figures.denied,
        "failed": figures.failed,
    }
    outcomes = {
        "approved": figures.approved, "signed": figures.signed, "refused": figures.refused,
    }  # fmt: skip
    return [
        Metric(
            name=f"{PREFIX}_requests",
            meaning="Requests there are, by state; approved means not signed yet.",
            samples=tuple(({"state": state}, count) for state, count in states.items()),
        ),
        Metric(
            name=f"{PREFIX}_requests_last_hour",
            meaning="What became of the requests of the last hour; refused is denied or failed.",
            samples=tuple(({"outcome": outcome}, count) for outcome, count in outcomes.items()),
        ),
        _one(
            "oldest_pending_request_seconds",
            "For how long the oldest request waits for a verdict; 0 if none does.",
            figures.oldest_pending,
        ),
    ]


def _one(name: str, meaning: str, value: float) -> Metric:
    return Metric(name=f"{PREFIX}_{name}", meaning=meaning, samples=(({}, value),))


def own_metrics(found: tuple[Concern, ...], sights: tuple[Sight, ...], now: datetime) -> str:
    """Return the same for the kubelet of a node."""
    ends, waits, asked = [], [], []
    for each in sights:
        labels = {"purpose": WORDS[each.purpose]}
        attempt = each.record.attempt
        if each.held.leaf:
            ends.append((labels, each.held.leaf.not_after.timestamp()))
        waits.append((labels, (now - attempt.begun_at).total_seconds() if attempt else 0.0))
        asked.append((labels, float(len(each.record.recent(now)))))
    return exposition(
        [
            _state("own", _worst(found)),
            _judged(f"{OWN}_concern", found, OwnRule),
            Metric(
                name=f"{OWN}_certificate_expiry_timestamp_seconds",
                meaning="When the kubelet's certificate ends.",
                samples=tuple(ends),
            ),
            Metric(
                name=f"{OWN}_pending_request_seconds",
                meaning="For how long certrotd's request waits; 0 if there is none.",
                samples=tuple(waits),
            ),
            Metric(
                name=f"{OWN}_requests_remembered",
                meaning="How many requests certrotd made in the last six hours.",
                samples=tuple(asked),
            ),
        ]
    )
