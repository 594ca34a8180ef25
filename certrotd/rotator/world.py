"""What a rotator is given: the ports it acts through and the bounds it keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

    from certrotd.core.model import Component, ComponentName, IssuerName, Schedule
    from certrotd.core.reloading import MatrixRow
    from certrotd.ports import (
        Clock,
        Gate,
        Hold,
        Issuer,
        Journal,
        Lock,
        Log,
        Proof,
        Runtime,
        Service,
        Store,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeper:
    """How one component is told, proved and checked; `runtime` with the activation AUTO."""

    service: Service
    runtime: Runtime | None = None
    proofs: tuple[Proof, ...] = ()
    gates: tuple[Gate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Numbers the rotator keeps to.

    `offset` is this node's share of the splay; `issuances` the signatures one certificate may
    cost in 24 hours; `skew` how far clocks may be apart; `grace` how long a replaced generation
    stays; `poll` the first pause between two looks at a proof.
    """

    offset: timedelta
    workers: int
    issuances: int
    skew: timedelta
    grace: timedelta
    poll: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything outside, behind its port. `stopping` is asked between two steps.

    `matrix` gives the reload matrix; only components with the activation AUTO need it.
    """

    components: tuple[Component, ...]
    schedule: Schedule
    bounds: Bounds
    clock: Clock
    issuers: Mapping[IssuerName, Issuer]
    store: Store
    keepers: Mapping[ComponentName, Keeper]
    journal: Journal
    lock: Lock
    hold: Hold
    log: Log
    stopping: Callable[[], bool]
    matrix: Callable[[], tuple[MatrixRow, ...]] = tuple
