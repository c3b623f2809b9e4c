"""Implicit ALS. Its item step needs only sums over users, so it federates without loss.

It minimises the loss of Hu, Koren and Volinsky 2008 in the form of Rendle et al. 2022 ("Revisiting the
Performance of iALS on Item Recommendation Benchmarks", eq. 1 and 6), with S the used pairs:

    sum_(u,i in S) (1 - w_u'h_i)² + a sum_u sum_i (w_u'h_i)²
        + l ( sum_u (|S_u| + a |I|)^v |w_u|² + sum_i (|S_i| + a |U|)^v |h_i|² )

A user's vector follows from the items alone, so a client keeps no state between rounds. An item's vector is

    h_i = ( sum_(u in S_i) w_u w_u' + a sum_u w_u w_u' + l (|S_i| + a |U|)^v I )^-1 sum_(u in S_i) w_u

All of these sums run over users. Each client adds up its own, the server adds up the clients' and solves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt

from models.evaluation.ranking import Scores, product_scores
from models.federation.model import ItemModel, require
from models.kernel.arrays import ArrayGroup, FloatArray
from models.kernel.histories import Histories
from models.kernel.ranges import Range
from models.kernel.seeds import generator_for
from models.recommenders.additive.family import AdditiveFamily
from models.recommenders.base.family import FamilySpec, Features
from models.recommenders.items.cold_items import placed_rows
from models.recommenders.items.item_factors import ItemFactors, UserStep
from models.recommenders.items.symmetric import symmetric, triangle, triangle_size
from models.recommenders.scoring.additive_scorers import FactorScorer
from models.recommenders.scoring.scorer import Scorer

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class IalsSpec:
    """The settings of iALS.

    Attributes:
        dims: latent dimensions.
        regularisation: l above.
        unobserved_weight: a above, the weight of every pair; a used pair has 1 in addition.
        frequency_exponent: v above; 0 regularises all equally, 1 in proportion to the number of pairs.
        family: the family's name.
    """

    dims: Annotated[int, Ge(1)] = 64
    regularisation: Annotated[float, Gt(0)] = 0.01
    unobserved_weight: Annotated[float, Gt(0)] = 0.3
    frequency_exponent: Annotated[float, Ge(0)] = 1.0
    family: Literal["ials"] = "ials"


@dataclass(frozen=True)
class IalsStatistics(ArrayGroup):
    """A client's sums over its users, float32 like every update.

    Attributes:
        item_grams: (items, triangle of dims), sum of w w' over the users of each item.
        item_targets: (items, dims), sum of w over them.
        item_users: (items,), their number.
        user_gram: (triangle of dims,), sum of w w' over all users.
        users: (1,), their number.
        RANGES: of about 2**16 users of an item. On MovieLens-100K the sums are at most .04 times the users.
    """

    RANGES: ClassVar[Mapping[str, Range]] = {
        "item_grams": Range.symmetric(2.0**11, 26),
        "item_targets": Range.symmetric(2.0**13, 28),
        "item_users": Range.counting(24),
        "user_gram": Range.symmetric(2.0**15, 30),
        "users": Range.counting(24),
    }
    AXES: ClassVar[Mapping[str, str]] = {
        "item_grams": "items triangle",
        "item_targets": "items dims",
        "item_users": "items",
        "user_gram": "triangle",
        "users": "one",
    }
    GROWING: ClassVar[frozenset[str]] = frozenset({"item_users", "users"})

    item_grams: FloatArray
    item_targets: FloatArray
    item_users: FloatArray
    user_gram: FloatArray
    users: FloatArray

    @classmethod
    def zero(cls, n_items: int, spec: IalsSpec) -> IalsStatistics:
        """Return the sums over no users."""
        size = triangle_size(spec.dims)
        shapes = ((n_items, size), (n_items, spec.dims), (n_items,), (size,), (1,))
        return cls(*(np.zeros(shape, dtype=np.float32) for shape in shapes))


@dataclass(frozen=True)
class IalsFamily(AdditiveFamily[ItemFactors, IalsStatistics]):
    """Implicit ALS. Each round is one alternation.

    Attributes:
        spec: the settings.
    """

    spec_type: ClassVar[type[FamilySpec]] = IalsSpec
    model_type: ClassVar[type[ItemModel]] = ItemFactors
    contribution_types: ClassVar[tuple[type[ArrayGroup], ...]] = (IalsStatistics,)
    scorer_type: ClassVar[type[Scorer]] = FactorScorer

    spec: IalsSpec

    @property
    def ranges(self) -> Mapping[str, Range]:
        return IalsStatistics.RANGES

    def initial(self, n_items: int, seed: int) -> ItemFactors:
        """Return normal item vectors whose lengths are about 0.1, as in Rendle et al. 2022, section 4.5."""
        dims = self.spec.dims
        drawn = generator_for(seed, "items").normal(0.0, 0.1 / np.sqrt(dims), (n_items, dims))
        return self._factors(drawn, np.zeros(n_items))

    def nothing(self, n_items: int) -> IalsStatistics:
        return IalsStatistics.zero(n_items, self.spec)

    def statistics(self, base: ItemFactors, histories: Histories) -> IalsStatistics:
        """Return the sums over these users that the item step needs."""
        users = user_embeddings(base, histories)
        by_item = histories.matrix().tocsc()
        by_item.sort_indices()
        counts = np.diff(by_item.indptr)
        grams = np.zeros((histories.n_items, triangle_size(self.spec.dims)), dtype=np.float32)
        targets = np.zeros((histories.n_items, self.spec.dims), dtype=np.float32)
        for item in np.flatnonzero(counts):
            own = users[by_item.indices[by_item.indptr[item] : by_item.indptr[item + 1]]]
            grams[item] = triangle(own.T @ own)
            targets[item] = own.sum(axis=0)
        return IalsStatistics(
            item_grams=grams,
            item_targets=targets,
            item_users=counts.astype(np.float32),
            user_gram=triangle(users.T @ users).astype(np.float32),
            users=np.array([len(histories)], dtype=np.float32),
        )

    def solve(self, total: IalsStatistics, n_items: int) -> ItemFactors:
        """Return the item vectors that minimise the loss for fixed users."""
        spec = self.spec
        everything = spec.unobserved_weight * symmetric(total.user_gram, spec.dims)
        items = np.empty((n_items, spec.dims))
        for row, (gram, target) in enumerate(zip(total.item_grams, total.item_targets, strict=True)):
            weight = float(total.item_users[row]) + spec.unobserved_weight * float(total.users[0])
            ridge = spec.regularisation * weight**spec.frequency_exponent
            left = symmetric(gram, spec.dims) + everything + ridge * np.eye(spec.dims)
            items[row] = np.linalg.solve(left, target)
        return self._factors(items, total.item_users)

    @classmethod
    def scorer(cls, items: ItemModel, features: Features | None = None) -> FactorScorer:
        model = require(items, ItemFactors)
        placed = None if features is None else placed_rows(model.embeddings, model.trained, features())
        return FactorScorer.of(model, placed)

    @classmethod
    def history_scores(cls, items: ItemModel, histories: Histories) -> Scores:
        model = require(items, ItemFactors)
        return product_scores(user_embeddings(model, histories), model.embeddings, model.item_biases)

    def _factors(self, embeddings: Float64Array, popularity: FloatArray) -> ItemFactors:
        spec = self.spec
        user_step = (spec.unobserved_weight, spec.regularisation, spec.frequency_exponent)
        return ItemFactors(
            embeddings.astype(np.float32),
            np.array(user_step, dtype=np.float32),
            popularity.astype(np.float32),
        )


def user_embeddings(model: ItemFactors, histories: Histories) -> Float64Array:
    """Return (users, dims): the vector of each user that minimises the loss for fixed items."""
    step = UserStep.of(model)
    return np.stack([step.parts(used).sum(axis=0) for used in histories])
