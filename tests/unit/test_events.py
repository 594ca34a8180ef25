from __future__ import annotations

import re
from pathlib import Path

from certrotd.ports import Event

ROOT = Path(__file__).parents[2]


def test_every_event_is_documented_and_no_other() -> None:
    text = (ROOT / "docs" / "events.md").read_text()
    documented = {
        name
        for line in text.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    assert documented == {str(event) for event in Event}


def test_every_event_is_used() -> None:
    code = "".join(path.read_text() for path in (ROOT / "certrotd").rglob("*.py"))
    assert [event for event in Event if f"Event.{event.name}" not in code] == []


def test_levels_follow_from_the_name() -> None:
    assert Event.STEP_FAILED.severity == "error"
    assert Event.COMPONENT_ROLLED_BACK.severity == "warning"
    assert Event.RUN_STARTED.severity == "info"
