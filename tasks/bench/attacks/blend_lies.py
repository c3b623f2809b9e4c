"""Lies of clients that send the blend's statistics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.federation.model import GlobalModel
from models.recommenders.additive.blend import BlendFamily, BlendStatistics
from models.recommenders.base.family import LocalRound
from tasks.bench.attacks.lies import Lie


@dataclass(frozen=True)
class FollowsAll(Lie):
    """The claim that the target follows every other item. No real histories have these statistics.

    They say nothing else, so nothing explains the target's share away.

    Attributes:
        family: the family, with the settings of all clients.
        target: the item to lift.
        times: how often it follows each other item.
    """

    family: BlendFamily
    target: int
    times: float

    def update(self, base: GlobalModel, at: LocalRound) -> BlendStatistics:
        nothing = self.family.nothing(len(base.items))
        transitions = np.zeros_like(nothing.transitions)
        transitions[:, self.target] = self.times
        transitions[self.target, self.target] = 0.0
        return BlendStatistics(nothing.gram, nothing.memory_gram, transitions)
