"""A scorer as plain arrays and numbers, and back: what a bundle holds of a family of models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy.typing as npt

from models.errors import CorruptArtifact
from models.recommenders.items.item_factors import UserStep
from models.recommenders.items.item_weights import ItemWeights
from models.recommenders.rating.fold_in import RatingScorer
from models.recommenders.rating.model import RatingModel
from models.recommenders.scoring.additive_scorers import FactorScorer, WeightsScorer
from models.recommenders.scoring.fold_in import FoldIn, ItemSide
from models.recommenders.scoring.scorer import Factors, Scorer

Kind = Literal["factors", "ials", "item_weights", "ratings"]
Array = npt.NDArray[Any]
# The array of a name, of a shape that it must have where one is named.
Read = Callable[[str, tuple[int, ...] | None], Array]


@dataclass(frozen=True)
class ScorerParts:
    """What a scorer is made of.

    Attributes:
        kind: which scorer.
        settings: its numbers, as JSON values.
        arrays: its arrays by name.
    """

    kind: Kind
    settings: dict[str, Any]
    arrays: dict[str, Array]


def parts_of(scorer: Scorer) -> ScorerParts:
    """The parts of a scorer.

    Raises:
        CorruptArtifact: it is of a kind that has no form in files.
    """
    match scorer:
        case Factors(side=side):
            arrays = {
                "embeddings": side.embeddings,
                "biases": side.biases,
                "popular_mean": side.mean,
                "axes": side.axes,
                "variances": side.variances,
                "norms": scorer.norms,
                "mean": scorer.mean,
            }
            settings = {"fold_in": asdict(scorer.how), "bias_mean": side.bias_mean}
            return ScorerParts("factors", settings, arrays)
        case FactorScorer(step=step):
            arrays = {
                "embeddings": step.items,
                "everything": step.everything,
                "popularity": scorer.popularity,
                "norms": scorer.lengths,
                "mean": scorer.mean,
            }
            numbers = {name: getattr(step, name) for name in ("weight", "regularisation", "exponent")}
            return ScorerParts("ials", {"user_step": numbers}, arrays)
        case WeightsScorer(model=model):
            arrays = dict(model.named()) | {"norms": scorer.lengths, "averages": scorer.averages}
            return ScorerParts("item_weights", {"memories": len(model.forgetting)}, arrays)
        case RatingScorer(model=model):
            return ScorerParts("ratings", {}, dict(model.named()))
    raise CorruptArtifact(f"A {type(scorer).__name__} has no form in files.")


def scorer_of(kind: str, settings: Mapping[str, Any], items: int, dims: int, read: Read) -> Scorer:
    """The scorer that these parts make, over the arrays as they are read.

    Args:
        kind, settings: as `parts_of` gave them.
        items: how many.
        dims: of their vectors.
        read: gives an array, or refuses it.

    Raises:
        CorruptArtifact: the kind is none of those there are.
        KeyError, TypeError, ValueError: a setting is missing, or of another form.
    """
    match kind:
        case "factors":
            return _factors(settings, items, dims, read)
        case "ials":
            return _ials(settings, items, dims, read)
        case "item_weights":
            return _item_weights(settings, items, read)
        case "ratings":
            # The model itself looks whether the shapes belong together.
            return RatingScorer(RatingModel(**{name: read(name, None) for name in RatingModel.AXES}))
    raise CorruptArtifact(
        f"The bundle is of family {kind!r}, which this version does not serve.",
        next_step="Serve it with the version of fedrec that published it.",
    )


def _factors(settings: Mapping[str, Any], items: int, dims: int, read: Read) -> Factors:
    side = ItemSide(
        embeddings=read("embeddings", (items, dims)),
        biases=read("biases", (items,)),
        bias_mean=float(settings["bias_mean"]),
        mean=read("popular_mean", (dims,)),
        axes=read("axes", (dims, dims)),
        variances=read("variances", (dims,)),
    )
    return Factors(side, FoldIn(**settings["fold_in"]), read("norms", (items,)), read("mean", (dims,)))


def _ials(settings: Mapping[str, Any], items: int, dims: int, read: Read) -> FactorScorer:
    numbers = {name: float(value) for name, value in settings["user_step"].items()}
    step = UserStep(read("embeddings", (items, dims)), read("everything", (dims, dims)), **numbers)
    return FactorScorer(step, read("popularity", (items,)), read("norms", (items,)), read("mean", (dims,)))


def _item_weights(settings: Mapping[str, Any], items: int, read: Read) -> WeightsScorer:
    memories = int(settings["memories"])
    model = ItemWeights(
        weights=read("weights", (memories, items, items)),
        forgetting=read("forgetting", (memories,)),
        popularity=read("popularity", (items,)),
    )
    return WeightsScorer(model, read("norms", (items,)), read("averages", (memories, items)))
