"""What is known of control planes, as data: programs, their flags, and how they reload.

The YAML files beside this module are the knowledge; the modules only read them into frozen types.
"""

from __future__ import annotations

from certrotd.presets.layouts import LAYOUTS, layout_about, layout_text
from certrotd.presets.matrix import matrix
from certrotd.presets.programs import FlagPair, Lease, Program, programs

__all__ = [
    "LAYOUTS",
    "FlagPair",
    "Lease",
    "Program",
    "layout_about",
    "layout_text",
    "matrix",
    "programs",
]
