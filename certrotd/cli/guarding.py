"""What the guard of the kubelets' path found, as a line for monitoring, and as data."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from certrotd.kubelets.guarding import Concern, Figures


def guard_data(found: tuple[Concern, ...], figures: Figures) -> dict[str, object]:
    """Return everything as data."""
    return {
        "state": found[0].level.name if found else "OK",
        "concerns": [
            {"state": each.level.name, "text": each.text, "fix": each.fix} for each in found
        ],
        "figures": asdict(figures),
    }


def guard_text(found: tuple[Concern, ...], figures: Figures) -> str:
    """Return the line of the plugin, and below it what to do about each concern."""
    state = found[0].level.name if found else "OK"
    text = found[0].text if found else "kubelets can ask, are approved, and are signed for"
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    data = (
        f"pending={figures.pending} unsigned={figures.unsigned}"
        f" signed_last_hour={figures.signed} refused_last_hour={figures.refused}"
        f" kubelets={figures.kubelets} unread={figures.unread}"
    )
    lines = [f"CERTROTD KUBELETS {state} - {text}{more} | {data}"]
    for each in found:
        lines += [f"{each.level.name}: {each.text}", f"  {each.fix}"]
    return "\n".join(lines)
