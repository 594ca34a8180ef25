"""Random lives of a node, a few in every test run; `python -m tests.crash lives` plays more."""

from __future__ import annotations

from hypothesis import settings

from tests.crash.machine import Life

TestLives = Life.TestCase
TestLives.settings = settings(max_examples=8, stateful_step_count=25, deadline=None)
