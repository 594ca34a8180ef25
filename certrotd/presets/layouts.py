"""Layouts of control planes: whole inventories, from `layouts/*.yaml`.

A configuration's `preset` section chooses one and gives the facts that differ between nodes; what
comes of it is said in `certrotd.config.expansion`.
"""

from __future__ import annotations

from certrotd.presets.reading import FOLDER, document

LAYOUTS = ("kubeadm", "standalone", "split")
"""The names of all layouts, the most usual first."""


def layout_text(name: str) -> str:
    """Return a layout's document as it stands in its file, with its comments."""
    return (FOLDER / "layouts" / f"{name}.yaml").read_text(encoding="utf-8")


def layout_about(name: str) -> str:
    """Return one line that says what a layout is for."""
    return str(document(f"layouts/{name}.yaml")["about"])
