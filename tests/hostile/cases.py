"""Cases that are tried against Vault's clients and against kube-apiserver's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from tests.testbed.throwaway import ThrowawayCA

if TYPE_CHECKING:
    from tests.hostile.proxy import Deed

REFUSED, LATER = 1, 75
"""Exit codes: a person must look, and try again later."""


@dataclass(frozen=True, slots=True)
class Case:
    """A deed, what the message must name, and how certrotd ends."""

    name: str
    deed: Deed
    message: str
    code: int = REFUSED


def table(*cases: Case) -> pytest.MarkDecorator:
    """Run a test with each of these cases."""
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.name)


def impostors(name: str, message: str) -> pytest.MarkDecorator:
    """Run a test with serving certificates that prove nothing.

    One is of a CA of the right `name`, of which certrotd says the `message`.
    """
    return pytest.mark.parametrize(
        ("ca", "pair", "message"),
        [
            (None, {"life": timedelta(seconds=-30)}, "certificate has expired"),
            (ThrowawayCA.new("foreign"), {}, "unable to get local issuer certificate"),
            (ThrowawayCA.new(name), {}, message),
            (None, {"ip_addresses": ["127.0.0.2"]}, "IP address mismatch"),
            (None, {"ip_addresses": [], "dns_names": ["localhost"]}, "IP address mismatch"),
            (None, {"server": False, "client": True}, "unsuitable certificate purpose"),
        ],
    )
