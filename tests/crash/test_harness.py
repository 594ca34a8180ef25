"""The harness fits the package it is for."""

from __future__ import annotations

from pathlib import Path

import pytest

import certrotd
from tests.crash.mutants import MUTANTS, SOUND, Mutant

PACKAGE = Path(certrotd.__file__).parent


@pytest.mark.parametrize("mutant", [*MUTANTS, SOUND], ids=lambda mutant: mutant.name)
def test_what_a_mutant_replaces_is_there_once(mutant: Mutant) -> None:
    assert (PACKAGE / mutant.file).read_text().count(mutant.old) == 1
