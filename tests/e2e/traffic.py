"""A client that writes and watches through the API while certificates change under it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from tests.testbed.kubeapi import ApiAnswered

if TYPE_CHECKING:
    from tests.testbed.controlplane import ControlPlane


class Traffic:
    """Creates one ConfigMap after the other and watches them arrive; keeps what failed."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._stop = threading.Event()
        self._writer = threading.Thread(target=self._write, name="traffic")
        self.written = 0
        self.failures: list[str] = []

    def __enter__(self) -> Self:
        self._writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._writer.join()

    def _write(self) -> None:
        while not self._stop.wait(0.02):
            try:
                # A fresh client each time reads the admin's identity anew, so every handshake
                # meets whatever both sides present at that moment.
                self._plane.client().create_config_map(f"traffic-{self.written}", {"n": "1"})
            except (OSError, ApiAnswered) as e:
                self.failures.append(f"write {self.written}: {e!r}")
            self.written += 1

    def seen(self) -> int:
        """How many of the written objects the API server has."""
        listed = self._plane.client().request("GET", "/api/v1/namespaces/default/configmaps")
        return sum(each["metadata"]["name"].startswith("traffic-") for each in listed["items"])
