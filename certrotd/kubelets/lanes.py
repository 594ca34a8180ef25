"""Several requests at a time, and those of one node one after another."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future, ThreadPoolExecutor

DEPTH = 4
"""How much work may wait in each lane."""


class Lanes:
    """A thread for each lane; with one lane the caller's own.

    What is waited for meanwhile is the API server, so that threads help in spite of Python.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._pools: list[ThreadPoolExecutor] = []
        self._running: list[list[Future[None]]] = [[] for _ in range(count)]

    def run(self, key: str, work: Callable[[], None], meanwhile: Callable[[], bool]) -> None:
        """Have some work done, after all that was given with the same key before.

        Args:
            key: What must not be done at the same time.
            work: It must not raise.
            meanwhile: Called every second while the lane is full.
        """
        if self._count == 1:
            work()
            return
        # Imported here because --help needs no threads.
        from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait  # noqa: PLC0415

        if not self._pools:
            self._pools = [ThreadPoolExecutor(1, f"lane-{i}") for i in range(self._count)]
        lane = zlib.crc32(key.encode()) % self._count
        running = self._running[lane]
        running[:] = [each for each in running if not each.done()]
        while len(running) >= DEPTH:
            wait(running, timeout=1.0, return_when=FIRST_COMPLETED)
            running[:] = [each for each in running if not each.done()]
            meanwhile()
        running.append(self._pools[lane].submit(work))

    def finish(self, meanwhile: Callable[[], bool]) -> None:
        """Wait until all is done."""
        from concurrent.futures import wait  # noqa: PLC0415  # see above

        for running in self._running:
            while wait(running, timeout=1.0).not_done:
                meanwhile()
            for each in running:
                each.result()  # a defect shows itself
            running.clear()

    def close(self) -> None:
        """End the threads."""
        for pool in self._pools:
            pool.shutdown()
        self._pools = []
