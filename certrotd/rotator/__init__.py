"""The imperative shell: look, decide, act, prove, write down. One way for every face."""

from certrotd.rotator.rotator import Rotator
from certrotd.rotator.world import Bounds, Keeper, World

__all__ = ["Bounds", "Keeper", "Rotator", "World"]
