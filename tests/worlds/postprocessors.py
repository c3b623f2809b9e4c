"""A postprocessor for the tests of what carries and applies them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from models.federation.contribution import Contribution, RunningSum
from models.federation.postprocessors import (
    Arrays,
    ClientContext,
    Postprocessor,
    RoundContext,
    register_postprocessor,
)


@register_postprocessor
@dataclass(frozen=True)
class Times(Postprocessor):
    """Multiplies each contribution on its client, and divides the sum on the server."""

    name: ClassVar[str] = "test-times"
    factor: float = 2.0

    def process_contribution(
        self, contribution: Contribution[Arrays], context: ClientContext
    ) -> Contribution[Arrays]:
        factor = np.float32(self.factor)
        return replace(contribution, arrays=contribution.arrays.map(lambda array: array * factor))

    def process_sum(self, total: RunningSum[Arrays], context: RoundContext) -> RunningSum[Arrays]:
        return replace(total, total=total.total.map(lambda array: array / self.factor))
