"""EASE. Its one statistic is a sum over users, so it federates in one round without loss.

Steck 2019 ("Embarrassingly Shallow Autoencoders for Sparse Data", eq. 8): with the used pairs as X (users,
items) of 0 and 1, the item weights B that minimise |X - X B|² + l |B|² under a diagonal of 0 are

    P = ( X'X + l I )^-1,    B_ij = - P_ij / P_jj

X'X counts how many users used both of two items, so each client adds up its own users' and the server solves.
Training knows no order. A history that is scored does: its older items have less weight, as in `next_item`.

Raw counts have no bound: a user of n items adds n² of them. With `user_norm: unit` each user's counts are
divided by n, so that they have the Frobenius norm 1 and noise can hide them. The server then keeps of the
noisy sum what stands out from the noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt

from models.federation.contribution import RunningSum
from models.kernel.arrays import ArrayGroup, FloatArray
from models.kernel.histories import Float64Array, Histories
from models.kernel.ranges import Range
from models.privacy.denoising import denoised
from models.privacy.noise_plan import NoisePlan
from models.recommenders.additive.item_to_item import ItemToItemFamily
from models.recommenders.base.family import FamilySpec
from models.recommenders.items.item_weights import ItemWeights
from models.recommenders.items.symmetric import symmetric, triangle, triangle_size
from models.recommenders.items.unit_pairs import RANGE, matrix_of, unit_pairs

# A user of a hundred items counts a hundredth in unit statistics, and so does the regularisation. So one
# value suits both.
_UNIT_REGULARISATION = 0.01
_UNIT_NOISE: Mapping[str, float] = {"gram": 1.0}


@dataclass(frozen=True)
class EaseSpec:
    """The settings of EASE.

    Attributes:
        regularisation: l above; a hundredth of it with `user_norm: unit`.
        forgetting: an item used k places before has the weight k^-forgetting in a history that is scored; 0
            weighs all items equally.
        user_norm: raw adds up counts; unit scales each user's counts to the Frobenius norm 1, which privacy
            needs.
        family: the family's name.
    """

    regularisation: Annotated[float, Gt(0)] = 800.0
    forgetting: Annotated[float, Ge(0)] = 0.85
    user_norm: Literal["raw", "unit"] = "raw"
    family: Literal["ease"] = "ease"


@dataclass(frozen=True)
class EaseStatistics(ArrayGroup):
    """A client's sums over its users.

    Attributes:
        gram: (triangle of items,) float32, X'X. The values are integers, so they are exact below 2**24 users.
            With `user_norm: unit` the sums of `unit_pairs`, which noise may make negative.
        RANGES: of the counts of a silo of less than 2**24 users.
    """

    RANGES: ClassVar[Mapping[str, Range]] = {"gram": Range.counting(24)}

    AXES: ClassVar[Mapping[str, str]] = {"gram": "triangle"}
    GROWING: ClassVar[frozenset[str]] = frozenset({"gram"})

    gram: FloatArray

    @classmethod
    def zero(cls, n_items: int) -> EaseStatistics:
        """Return the sums over no users."""
        return cls(np.zeros(triangle_size(n_items), dtype=np.float32))


class CooccurrenceFamily(ItemToItemFamily[EaseStatistics]):
    """A family whose one statistic counts how many users used both of two items."""

    contribution_types: ClassVar[tuple[type[ArrayGroup], ...]] = (EaseStatistics,)
    client_pair_bytes: ClassVar[int] = 20

    @property
    def ranges(self) -> Mapping[str, Range]:
        return EaseStatistics.RANGES

    def nothing(self, n_items: int) -> EaseStatistics:
        return EaseStatistics.zero(n_items)

    def statistics(self, base: ItemWeights, histories: Histories) -> EaseStatistics:
        """Return the number of these users who used both items, for each pair of items."""
        used = histories.matrix()
        return EaseStatistics(triangle((used.T @ used).toarray()).astype(np.float32))


@dataclass(frozen=True)
class EaseFamily(CooccurrenceFamily):
    """EASE.

    Attributes:
        spec: how to train.
        noise: the noise that clients add; None without noise.
    """

    spec_type: ClassVar[type[FamilySpec]] = EaseSpec
    bounding: ClassVar[Mapping[str, Any]] = {"user_norm": "unit"}

    spec: EaseSpec
    noise: NoisePlan | None = None

    @property
    def ranges(self) -> Mapping[str, Range]:
        return {"gram": RANGE} if self._is_unit else super().ranges

    def with_noise(self, noise: NoisePlan) -> EaseFamily:
        return replace(self, noise=noise)

    def unit_noise(self, round_: int) -> Mapping[str, float] | None:
        return _UNIT_NOISE if self._is_unit else None

    def statistics(self, base: ItemWeights, histories: Histories) -> EaseStatistics:
        """Return the counts, or these users' sum of `unit_pairs`."""
        return EaseStatistics(unit_pairs(histories)) if self._is_unit else super().statistics(base, histories)

    def solved(self, state: RunningSum[EaseStatistics], n_items: int) -> ItemWeights:
        if self.noise is None or not self._is_unit:
            return self.solve(state.total, n_items)
        noisy = matrix_of(state.total.gram, n_items)
        each = self.noise.client_deviations(_UNIT_NOISE)["gram"]
        # The largest eigenvalue stands for popularity, of which something is left at any noise.
        kept = denoised(noisy, each * math.sqrt(len(state.clients)), margin=1.0, least=1)
        return self._weights((kept.vectors * kept.values) @ kept.vectors.T, np.diag(noisy))

    def solve(self, total: EaseStatistics, n_items: int) -> ItemWeights:
        gram = (matrix_of if self._is_unit else symmetric)(total.gram, n_items)
        return self._weights(gram, np.diag(gram))

    @property
    def _is_unit(self) -> bool:
        return self.spec.user_norm == "unit"

    def _weights(self, gram: Float64Array, popularity: Float64Array) -> ItemWeights:
        ridge = self.spec.regularisation * (_UNIT_REGULARISATION if self._is_unit else 1.0)
        inverse = np.linalg.inv(gram + ridge * np.eye(len(gram)))
        weights = inverse / -np.diag(inverse)
        np.fill_diagonal(weights, 0.0)
        return ItemWeights.of(weights, self.spec.forgetting, popularity)
