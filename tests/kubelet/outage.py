"""How long each component did not answer: a fresh connection and request every few hundredths."""

from __future__ import annotations

import http.client
import threading
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Self

from tests.testbed.inventory import COMPONENTS
from tests.testbed.staticpods import HEALTH, status

if TYPE_CHECKING:
    from tests.testbed.staticpods import StaticPodNode

INTERVAL = 0.04
"""Seconds between two requests to one component."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """What a component's health endpoint said: `longest` seconds between two good answers."""

    longest: float
    asked: int
    refused: int


class Outages:
    """Asks all components for as long as it is entered."""

    def __init__(self, node: StaticPodNode) -> None:
        self._node = node
        self._over = threading.Event()
        self._good: dict[str, list[float]] = {name: [] for name in COMPONENTS}
        self._bad = dict.fromkeys(COMPONENTS, 0)
        self._threads = [
            threading.Thread(target=self._ask, args=(name,), name=f"asks {name}")
            for name in COMPONENTS
        ]

    def __enter__(self) -> Self:
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for each in self._threads:
            each.join()

    def of(self, name: str) -> Outage:
        """What was seen of a component."""
        good = self._good[name]
        gaps = (later - earlier for earlier, later in pairwise(good))
        asked = len(good) + self._bad[name]
        return Outage(longest=max(gaps), asked=asked, refused=self._bad[name])

    def _ask(self, name: str) -> None:
        self._node.namespaces.enter_network()
        while not self._over.wait(INTERVAL):
            try:
                well = status(HEALTH[name], timeout=1.0) == http.client.OK
            except OSError:
                well = False
            if well:
                self._good[name].append(time.monotonic())
            else:
                self._bad[name] += 1


def table(runs: dict[str, Outages]) -> str:
    """A line for each component, a column for each run."""
    lines = [
        "| component | " + " | ".join(runs) + " |",
        "|---" * (len(runs) + 1) + "|",
    ]
    for name in COMPONENTS:
        cells = []
        for seen in runs.values():
            outage = seen.of(name)
            cells.append(f"{outage.longest:.2f} s" if outage.refused else "none")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
