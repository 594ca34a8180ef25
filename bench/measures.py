"""What a measurement is: our figure, the peer's or limit's from the same run, and the aim."""

from __future__ import annotations

import statistics
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One line of the table; `aim` bounds `ours / peer`, None if the line only informs.

    `allowance` is added to the aim's share of the peer's figure, for aims of the form
    "peer + 60 ms".
    """

    work: str
    ours: float
    peer: float
    peer_name: str
    unit: str
    aim: float | None
    allowance: float = 0.0
    note: str = ""

    @property
    def ratio(self) -> float:
        """Ours as a multiple of the peer's."""
        return self.ours / self.peer

    @property
    def met(self) -> bool:
        """Whether the aim is met."""
        return self.aim is None or self.ours <= self.peer * self.aim + self.allowance

    def row(self) -> tuple[str, ...]:
        """Return the cells of the table."""
        aim = verdict = ""
        if self.aim is not None:
            aim = f"≤ {self.aim:g}x"
            aim += f" + {self.allowance:g} {self.unit}" if self.allowance else ""
            verdict = "met" if self.met else "MISSED"
        return (
            self.work,
            f"{self.ours:.1f} {self.unit}",
            f"{self.peer:.1f} {self.unit} ({self.peer_name})",
            f"{self.ratio:.2f}x",
            aim,
            verdict,
            self.note,
        )


HEADER = ("WORK", "CERTROTD", "PEER OR LIMIT", "RATIO", "AIM", "", "NOTE")


def milliseconds(work: Callable[[], object]) -> float:
    """Return how long one call takes."""
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


def median_of(times: int, work: Callable[[], object]) -> float:
    """Return the median of so many calls in milliseconds, after one that does not count."""
    work()
    return statistics.median(milliseconds(work) for _ in range(times))


def command(argv: Sequence[str], environment: Mapping[str, str]) -> Callable[[], object]:
    """Return a call that runs a program and insists on its success."""

    def run() -> object:
        return subprocess.run(argv, env=dict(environment), check=True, capture_output=True)

    return run
