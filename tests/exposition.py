"""A strict reader of Prometheus' text format: what it does not understand is an error.

Written from the description of the format (exposition format 0.0.4), not from what certrotd writes.
"""

from __future__ import annotations

import re

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"')
HEAD = re.compile(r"# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)")
ESCAPED = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}

Labels = frozenset[tuple[str, str]]
Samples = dict[tuple[str, Labels], float]


def parse(text: str) -> Samples:
    """Return all samples.

    Raises:
        ValueError: a line is none, a metric has no HELP and TYPE before its samples or is told of
            in two places, or two samples have the same labels.
    """
    if not text.endswith("\n"):
        raise ValueError("the last line has no end")
    samples: Samples = {}
    seen: set[str] = set()
    expected, current = "HELP", ""
    for line in text[:-1].split("\n"):
        if line.startswith("#"):
            head = HEAD.fullmatch(line)
            if head is None or head[1] != expected:
                raise ValueError(f"not the {expected} expected: {line!r}")
            if expected == "HELP":
                if head[2] in seen or re.search(r"\\(?![\\n])", head[3].replace("\\\\", "")):
                    raise ValueError(f"twice, or badly escaped: {line!r}")
                seen.add(head[2])
                expected, current = "TYPE", head[2]
            elif (head[2], head[3]) == (current, "gauge"):
                expected = "HELP"
            else:
                raise ValueError(f"not the type of {current}: {line!r}")
            continue
        name, labels, value = _sample(line)
        if expected != "HELP" or name != current or (name, labels) in samples:
            raise ValueError(f"out of place, or twice: {line!r}")
        samples[name, labels] = value
    return samples


def _sample(line: str) -> tuple[str, Labels, float]:
    name = NAME.match(line)
    if name is None:
        raise ValueError(f"no sample: {line!r}")
    rest, labels = line[name.end() :], {}
    if rest.startswith("{"):
        rest = rest[1:]
        while label := LABEL.match(rest):
            if label[1] in labels:
                raise ValueError(f"a label twice: {line!r}")
            labels[label[1]] = re.sub(r"\\.", lambda found: ESCAPED[found[0]], label[2])
            rest = rest[label.end() :].removeprefix(",")
        if not rest.startswith("}"):
            raise ValueError(f"labels without an end: {line!r}")
        rest = rest[1:]
    if not re.fullmatch(r" -?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?", rest):
        raise ValueError(f"no value: {line!r}")
    return name[0], frozenset(labels.items()), float(rest)
