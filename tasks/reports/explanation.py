"""What the items of a job's models show: where they lie, which are alike, and which a round moved most.

Made of models and catalogue alone, which the coordinator holds anyway.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.errors import CorruptArtifact
from models.federation.model import GlobalModel, ItemModel
from models.recommenders.items.features import ItemFeatures
from models.recommenders.scoring.fold_in import top_k
from models.recommenders.scoring.item_map import main_labels, principal_plane
from models.recommenders.scoring.recommender import Recommender
from tasks.exchange.models import fetch_model
from tasks.exchange.store import Exchange
from tasks.jobs.journal import artifact_of
from tasks.local.atomic import write_atomically
from tasks.scoring.recommend import recommender_over

Explanation = Mapping[str, Any]
NOTHING_SHOWN: Explanation = {"map": None, "neighbours": [], "moved": []}

MAPPED_ITEMS = 1000
_MAIN_LABELS = 7
_MOVED = 10
_POPULAR = 12
_ALIKE = 5
_FEWEST_ON_A_MAP = 3
# Digits that a reader can see; rounding also hides in which order a machine adds.
_DIGITS = 4


def explain(exchange: Exchange, rounds: Sequence[Mapping[str, Any]], items: pd.DataFrame) -> Explanation:
    """What there is to see, as JSON values: `map`, `neighbours` and `moved`; empty before the first round.

    Args:
        exchange: where the models lie.
        rounds: manifests of the committed rounds, from round 0 on.
        items: the catalogue.

    Returns:
        map: the most popular items in the principal plane of their directions: `column` and `labels`, the
            share `explained` by each axis, and by item `item_ids`, `titles`, `label` (-1: none), `x` and `y`.
        neighbours: popular items, each with the items of the nearest directions.
        moved: `{since, until, items}`: whose vectors moved farthest in the first round, the last, and in all.
    """
    if len(rounds) < 2:  # noqa: PLR2004 - round 0 is nobody's training
        return NOTHING_SHOWN
    last = fetch_model(exchange.url, artifact_of(rounds[-1])).items
    recommender = recommender_over(last, items)
    popular = _popular(recommender, last)
    return {
        "map": _map(recommender, popular[:MAPPED_ITEMS], items),
        "neighbours": _neighbours(recommender, popular, last),
        "moved": _moved(exchange, rounds, recommender),
    }


def write_explanation(explanation: Explanation, path: Path) -> None:
    """`path` holds the explanation as JSON, for plots of one's own."""
    write_atomically(path, json.dumps(explanation, ensure_ascii=False).encode(), durable=False)


def _popular(recommender: Recommender, model: ItemModel) -> npt.NDArray[np.int64]:
    """Trained items, those first that nobody in particular would be recommended first."""
    every = top_k(recommender.scores([]), len(model), [])
    return np.asarray(every[model.trained[every]])


def _map(recommender: Recommender, rows: npt.NDArray[np.int64], items: pd.DataFrame) -> dict[str, Any] | None:
    if len(rows) < _FEWEST_ON_A_MAP:
        return None
    plane = principal_plane(recommender.scorer.directions(rows))
    column, labels, label = _labelled(items)
    return {
        "column": column,
        "labels": labels,
        "explained": _rounded(plane.explained),
        "item_ids": [recommender.item_ids[row] for row in rows],
        "titles": [recommender.titles[row] for row in rows],
        "label": label[rows].tolist(),
        "x": _rounded(plane.places[:, 0]),
        "y": _rounded(plane.places[:, 1]),
    }


def _labelled(items: pd.DataFrame) -> tuple[str | None, list[str], np.ndarray]:
    """The column that colours the map: the one whose few labels say something of the most items."""
    best: tuple[str | None, list[str], np.ndarray] = (None, [], np.full(len(items), -1))
    for column, labels in ItemFeatures.of(items).labels.items():
        kept, places = main_labels(labels, len(items), _MAIN_LABELS)
        if (places >= 0).sum() > (best[2] >= 0).sum():
            best = (column, kept, places)
    return best


def _neighbours(
    recommender: Recommender, popular: npt.NDArray[np.int64], model: ItemModel
) -> list[dict[str, Any]]:
    # An item that nobody trained on lies where its features place it, or nowhere.
    trained, found = model.trained, list[dict[str, Any]]()
    for row in popular[:_POPULAR].tolist():
        similarities = recommender.scorer.similarities(row)
        alike = top_k(similarities, _ALIKE, [row], trained).tolist()
        found.append(
            _named(recommender, row)
            | {
                "alike": [
                    _named(recommender, other) | {"similarity": round(float(similarities[other]), _DIGITS)}
                    for other in alike
                ]
            }
        )
    return found


def _moved(
    exchange: Exchange, rounds: Sequence[Mapping[str, Any]], recommender: Recommender
) -> list[dict[str, Any]]:
    last = len(rounds) - 1
    found = []
    for since, until in dict.fromkeys([(0, 1), (last - 1, last), (0, last)]):
        try:
            before, after = (
                fetch_model(exchange.url, artifact_of(rounds[round_])) for round_ in (since, until)
            )
        except CorruptArtifact:
            continue  # whoever cleared the exchange of an old model did not mean to stop the job
        distances = _distances(before, after)
        found.append(
            {
                "since": since,
                "until": until,
                "items": [
                    _named(recommender, row) | {"distance": round(float(distances[row]), _DIGITS)}
                    for row in top_k(distances, _MOVED, []).tolist()
                ],
            }
        )
    return found


def _distances(before: GlobalModel, after: GlobalModel) -> np.ndarray:
    """(items,): how far each item's vector moved."""
    moved = after.items.vectors.astype(np.float64) - before.items.vectors
    return np.asarray(np.linalg.norm(moved, axis=1))


def _named(recommender: Recommender, row: int) -> dict[str, Any]:
    return {"item_id": recommender.item_ids[row], "title": recommender.titles[row]}


def _rounded(values: np.ndarray) -> list[float]:
    # Adding 0 turns -0.0 into 0.0.
    return [float(value) for value in values.round(_DIGITS) + 0.0]
