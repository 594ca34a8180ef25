"""Checks of the words that the reload matrix is asked with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certrotd.config.outputs import pair_material
from certrotd.config.validation import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from certrotd.config import settings
    from certrotd.config.faults import Faults
    from certrotd.config.source import Location


def check_materials(at: Location, given: settings.Component, faults: Faults) -> None:
    """Make sure that the matrix knows the program of an `auto` activation and its materials."""
    from certrotd.presets import programs  # noqa: PLC0415  # start-up time

    auto = given.activation.auto
    if auto is None:
        return
    place: Location = (*at, "activation", "auto", "program")
    if (program := programs().get(auto.program)) is None:
        near = nearest(auto.program, programs())
        faults.add(place, f"'{auto.program}' names no program of the reload matrix{near}")
        return
    for where, material in _materials(at, given):
        if material not in program.materials:
            near = nearest(material, program.materials)
            faults.add(where, f"'{material}' names no material of {program.name}{near}", place)


def _materials(at: Location, given: settings.Component) -> Iterator[tuple[Location, str]]:
    for i, file in enumerate(given.reads):
        yield (*at, "reads", i, "material"), file.material
    for name, certificate in given.certificates.items():
        here = (*at, "certificates", name)
        if material := pair_material(certificate):
            yield (*here, "material"), material
        for i, output in enumerate(certificate.outputs):
            if output.material:
                yield (*here, "outputs", i, "material"), output.material
