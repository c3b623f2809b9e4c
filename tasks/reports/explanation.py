"""Explains a job's models by their items: a map, the nearest neighbours, and the items that moved most.

The explanation is computed from models and catalogue alone, which the coordinator already has.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.errors import CorruptArtifact
from models.federation.model import GlobalModel, ItemModel
from models.recommenders.items.features import ItemFeatures
from models.recommenders.scoring.fold_in import top_k
from models.recommenders.scoring.item_map import main_labels, principal_plane
from models.recommenders.scoring.recommender import Recommender
from tasks.datasets.item_table import named
from tasks.exchange.models import fetch_model
from tasks.exchange.store import Exchange
from tasks.local.atomic import write_atomically
from tasks.messages.record import as_json_object
from tasks.messages.round_record import RoundRecord
from tasks.scoring.recommend import recommender_over

MAPPED_ITEMS = 1000
_MAIN_LABELS = 7
_MOVED = 10
_POPULAR = 12
_ALIKE = 5
_FEWEST_ON_A_MAP = 3
# Digits that a reader can see. Rounding also hides the order in which a machine adds.
_DIGITS = 4


@dataclass(frozen=True)
class ItemMap:
    """The most popular items in the principal plane of their directions.

    Attributes:
        column, labels: the catalogue's column that colours the map, or None, and its labels.
        explained: share of the variance that each axis explains.
        item_ids, titles: the items.
        label: for each item, an index into `labels`, or -1.
        x, y: for each item, its position on the map.
    """

    column: str | None
    labels: Sequence[str]
    explained: Sequence[float]
    item_ids: Sequence[str]
    titles: Sequence[str]
    label: Sequence[int]
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class NamedItem:
    """An item as a reader knows it."""

    item_id: str
    title: str


@dataclass(frozen=True)
class Neighbour(NamedItem):
    """An item, and the cosine between its vector and another item's."""

    similarity: float


@dataclass(frozen=True)
class Neighbours(NamedItem):
    """An item, and its neighbours by cosine, the nearest first."""

    alike: Sequence[Neighbour]


@dataclass(frozen=True)
class MovedItem(NamedItem):
    """An item, and the distance that its vector moved."""

    distance: float


@dataclass(frozen=True)
class Moved:
    """The items whose vectors moved farthest between the models of two rounds."""

    since: int
    until: int
    items: Sequence[MovedItem]


@dataclass(frozen=True)
class Explanation:
    """The explanation of a job's models by their items.

    Attributes:
        map: the map of items; None if there are too few items.
        neighbours: the neighbours of popular items.
        moved: the items that moved farthest in the first round, in the last one, and in all rounds together.
    """

    map: ItemMap | None = None
    neighbours: Sequence[Neighbours] = ()
    moved: Sequence[Moved] = ()


NOTHING_SHOWN = Explanation()


def explain(exchange: Exchange, rounds: Sequence[RoundRecord], items: pd.DataFrame) -> Explanation:
    """Return the explanation of a job's models; it is empty before round 1.

    Args:
        exchange: contains the models.
        rounds: records of the committed rounds, from round 0 on.
        items: the item catalogue.
    """
    if len(rounds) < 2:  # noqa: PLR2004 - round 0 is not trained
        return NOTHING_SHOWN
    last = fetch_model(exchange.url, rounds[-1].model).items
    names = named(items["item_id"].tolist(), items["title"].tolist() if "title" in items else ())
    recommender = recommender_over(last, *names, lambda: items)
    popular = _popular(recommender, last)
    return Explanation(
        map=_map(recommender, popular[:MAPPED_ITEMS], items),
        neighbours=_neighbours(recommender, popular, last),
        moved=_moved(exchange, rounds, recommender),
    )


def write_explanation(explanation: Explanation, path: Path) -> None:
    """Write the explanation to `path` as JSON, for further plots."""
    write_atomically(
        path, json.dumps(as_json_object(explanation), ensure_ascii=False).encode(), durable=False
    )


def _popular(recommender: Recommender, model: ItemModel) -> npt.NDArray[np.int64]:
    """Return the trained items, sorted by the scores of an empty history, best first."""
    every = top_k(recommender.scores([]), len(model), [])
    return np.asarray(every[model.trained[every]])


def _map(recommender: Recommender, rows: npt.NDArray[np.int64], items: pd.DataFrame) -> ItemMap | None:
    if len(rows) < _FEWEST_ON_A_MAP:
        return None
    plane = principal_plane(recommender.scorer.directions(rows))
    column, labels, label = _labelled(items)
    return ItemMap(
        column=column,
        labels=labels,
        explained=_rounded(plane.explained),
        item_ids=[recommender.item_ids[row] for row in rows],
        titles=[recommender.titles[row] for row in rows],
        label=label[rows].tolist(),
        x=_rounded(plane.places[:, 0]),
        y=_rounded(plane.places[:, 1]),
    )


def _labelled(items: pd.DataFrame) -> tuple[str | None, list[str], np.ndarray]:
    """Return the column whose few labels cover the most items, these labels, and each item's label."""
    best: tuple[str | None, list[str], np.ndarray] = (None, [], np.full(len(items), -1))
    for column, labels in ItemFeatures.of(items).labels.items():
        kept, places = main_labels(labels, len(items), _MAIN_LABELS)
        if (places >= 0).sum() > (best[2] >= 0).sum():
            best = (column, kept, places)
    return best


def _neighbours(
    recommender: Recommender, popular: npt.NDArray[np.int64], model: ItemModel
) -> list[Neighbours]:
    # The vector of an untrained item is predicted from its features, or is zero.
    trained, found = model.trained, []
    for row in popular[:_POPULAR].tolist():
        similarities = recommender.scorer.similarities(row)
        alike = [
            Neighbour(*_named(recommender, other), round(float(similarities[other]), _DIGITS))
            for other in top_k(similarities, _ALIKE, [row], trained).tolist()
        ]
        found.append(Neighbours(*_named(recommender, row), alike))
    return found


def _moved(exchange: Exchange, rounds: Sequence[RoundRecord], recommender: Recommender) -> list[Moved]:
    last = len(rounds) - 1
    found = []
    for since, until in dict.fromkeys([(0, 1), (last - 1, last), (0, last)]):
        try:
            before, after = (fetch_model(exchange.url, rounds[round_].model) for round_ in (since, until))
        except CorruptArtifact:
            continue  # an old model that was removed from the exchange does not stop the job
        distances = _distances(before, after)
        items = [
            MovedItem(*_named(recommender, row), round(float(distances[row]), _DIGITS))
            for row in top_k(distances, _MOVED, []).tolist()
        ]
        found.append(Moved(since, until, items))
    return found


def _distances(before: GlobalModel, after: GlobalModel) -> np.ndarray:
    """Return (items,): the distance that each item's vector moved."""
    moved = after.items.vectors.astype(np.float64) - before.items.vectors
    return np.asarray(np.linalg.norm(moved, axis=1))


def _named(recommender: Recommender, row: int) -> tuple[str, str]:
    """Return an item's id and title."""
    return recommender.item_ids[row], recommender.titles[row]


def _rounded(values: np.ndarray) -> list[float]:
    # Adding 0 turns -0.0 into 0.0.
    return [float(value) for value in values.round(_DIGITS) + 0.0]
