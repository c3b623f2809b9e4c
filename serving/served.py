"""A served model version: an opened bundle with the indices that requests need."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import CorruptArtifact, InvalidInput
from models.kernel.arrays import FloatArray
from models.recommenders.items.titles import folded
from models.recommenders.scoring.reasons import Reason
from models.recommenders.scoring.recommender import Recommendation
from serving.problems import unprocessable
from serving.schema import HistoryItem, RatingQuery, RecommendationQuery
from tasks.bundles.bundle import Bundle, open_bundle
from tasks.bundles.pointer import Target, users_folder
from tasks.bundles.users_bundle import LocalUsers, open_users
from tasks.web.problem import Problem

_REASONS = 3
# The 95 % point of the standard normal distribution: 90 % lie between its 5 % and 95 % points.
_Z = 1.6448536
# The largest number of matches that are ranked. A short query has more, but its user is still typing.
_MOST_MATCHES = 2_000
_QUOTED = 100
# Above this size an answer takes milliseconds and is computed in a thread, so other requests need not wait.
_SLOW = 8_000_000


@dataclass(frozen=True)
class Served:
    """A model version that is loaded and ready to answer.

    Attributes:
        target: the pointer's entry that names it.
        bundle: the opened model.
        model: version, round and SHA-256, which every response contains.
        rows: item id -> row.
        labels: feature -> its number.
        users: the users of the silo that this service runs in, if any.
    """

    target: Target
    bundle: Bundle
    model: Mapping[str, Any]
    rows: Mapping[str, int]
    labels: Mapping[str, int]
    users: LocalUsers | None = None

    @classmethod
    def load(cls, folder: Path, target: Target, model_name: str) -> Served:
        """Load and verify the version that a pointer names.

        Raises:
            CorruptArtifact: the bundle is of another model; or see `open_bundle` and `open_users`.
        """
        bundle = open_bundle(folder / target.bundle, target.manifest_sha256)
        facts = bundle.facts
        if facts["model_name"] != model_name:
            raise CorruptArtifact(
                f"Bundle {folder / target.bundle} is of model {facts['model_name']!r}, not of {model_name!r}."
            )
        users = None
        if target.users_sha256:
            shape = (int(facts["items"]), int(facts["dims"]))
            beside = users_folder(folder, target.bundle, target.users_sha256)
            users = open_users(beside, target.users_sha256, shape)
        return cls(
            target=target,
            bundle=bundle,
            model={name: facts[name] for name in ("version", "round", "sha256")},
            rows={item_id: row for row, item_id in enumerate(bundle.recommender.item_ids)},
            labels={name: number for number, name in enumerate(bundle.labels.names)},
            users=users,
        )

    @property
    def version(self) -> int:
        """Return its version in the registry."""
        return int(self.model["version"])

    @property
    def is_slow(self) -> bool:
        """Return whether a pass over all items should be made outside the event loop."""
        passes = self.bundle.recommender.scorer.passes
        return len(self.rows) * int(self.bundle.facts["dims"]) * passes > _SLOW

    def is_slow_for(self, query: RecommendationQuery) -> bool:
        """Return whether the answer to this query should be computed outside the event loop."""
        is_by_index = self.bundle.index is not None and bool(query.history) and not query.features
        return self.is_slow and not is_by_index

    def recommend(self, query: RecommendationQuery) -> dict[str, Any]:
        """Return the recommendations for a history, and what is unknown of the query's items and features."""
        return self._answer(query, self._weights(query.history))

    def recommend_to(self, user_id: str, query: RecommendationQuery) -> dict[str, Any]:
        """Return the recommendations for a user of this silo, and what they are computed from.

        If the silo knows the user, the items of the query's history are not recommended. They have no other
        effect.
        """
        sent = self._weights(query.history)
        user = self.users.find(user_id) if self.users else None
        if user is None:
            return {**self._answer(query, sent), "answered_from": "history"}
        stored = dict.fromkeys(user.history, 1.0)
        answer = self._answer(query, stored, vector=user.vector, exclude=list(sent))
        return {**answer, "answered_from": "stored history" if user.vector is None else "embedding"}

    def _answer(
        self,
        query: RecommendationQuery,
        weights: Mapping[int, float],
        *,
        vector: npt.NDArray[np.float64] | None = None,
        exclude: Sequence[int] = (),
    ) -> dict[str, Any]:
        history = list(weights)
        known, unknown = self._features(query.features)
        found = self.bundle.recommender.recommend(
            history,
            query.k,
            [*exclude, *(self.rows[item_id] for item_id in query.exclude if item_id in self.rows)],
            weights=list(weights.values()),
            allowed=self.bundle.labels.having_any(known) if query.features else None,
            diversity=query.diversity,
            reasons=_REASONS if history else 0,
            vector=vector,
        )
        return {
            "recommendations": [self._recommended(each) for each in found],
            "unknown": [*self._unknown([item.item_id for item in query.history]), *unknown],
        }

    def rate(self, query: RatingQuery) -> dict[str, Any]:
        """Return the predicted ratings for a history of ratings, and the items of both that are unknown.

        Raises:
            Problem: 409, this version does not predict ratings; 422, a rating is outside the scale, or an
                item occurs twice in the history.
        """
        rater = self.bundle.recommender.scorer.rater
        if rater is None:
            what = f"Version {self.version} recommends items and does not predict ratings."
            raise Problem(409, "no-ratings", f"{what} Promote a version of the family bayesian_mf.")
        known = [
            (self.rows[each.item_id], each.rating) for each in query.history if each.item_id in self.rows
        ]
        wanted = [self.rows[item_id] for item_id in query.items if item_id in self.rows]
        try:
            found = rater.ratings([row for row, _ in known], [rating for _, rating in known], wanted)
        except InvalidInput as error:
            raise unprocessable([{"where": "history", "what": error.what.rstrip(".")}]) from error
        lowest, highest = rater.scale
        recommender = self.bundle.recommender
        columns = zip(
            wanted, found.means.tolist(), found.deviations.tolist(), found.spreads.tolist(), strict=True
        )
        ratings = [
            {
                "item_id": recommender.item_ids[row],
                "title": recommender.titles[row],
                "rating": mean,
                "low": max(lowest, mean - _Z * deviation),
                "high": min(highest, mean + _Z * deviation),
                "deviation": deviation,
                "spread": spread,
            }
            for row, mean, deviation, spread in columns
        ]
        sent = [*(each.item_id for each in query.history), *query.items]
        return {"ratings": ratings, "unknown": self._unknown(sent)}

    def row(self, item_id: str) -> int:
        """Return the row of the item that a path names.

        Raises:
            Problem: 404, there is no such item.
        """
        try:
            return self.rows[item_id]
        except KeyError:
            what = f"the model has no item {item_id[:_QUOTED]!r}"
            errors = [{"where": "item_id", "what": what}]
            raise Problem(404, "unknown-item", f"item_id: {what}.", errors=errors) from None

    def similar(self, row: int, k: int) -> list[dict[str, Any]]:
        """Return the k items most similar to the one in this row."""
        return [vars(each) for each in self.bundle.recommender.similar(row, k)]

    def search(self, query: str, limit: int) -> list[dict[str, Any]]:
        """Return the items whose titles match the query, at most `limit`.

        First comes the item whose id is the query, then titles that begin with it, titles with a word that
        begins with it, and titles that contain it elsewhere. Within each group, items are sorted by their
        score without a history.
        """
        text = folded(query)
        rows = dict.fromkeys([self.rows[query]] if query in self.rows else [])
        for before in (b"\n", b" ", b""):
            if len(rows) < limit and (text or before == b"\n"):
                rows |= dict.fromkeys(self._matching(before + text.encode()))
        return [self._item(row) for row in list(rows)[:limit]]

    @cached_property
    def _popularity(self) -> FloatArray:
        """Return the scores (items,) without a history."""
        return self.bundle.recommender.scores([])

    def _matching(self, text: bytes) -> list[int]:
        found: dict[int, None] = {}
        for match in re.finditer(re.escape(text), self.bundle.search.texts):
            # A match across the border of two titles counts for the first.
            found[self.bundle.search.at(match.start())] = None
            if len(found) >= _MOST_MATCHES:
                break
        return sorted(found, key=lambda row: -self._popularity[row])

    def _item(self, row: int) -> dict[str, Any]:
        recommender = self.bundle.recommender
        return {
            "item_id": recommender.item_ids[row],
            "title": recommender.titles[row],
            "features": self.bundle.labels.of_item(row),
        }

    def _weights(self, history: Sequence[HistoryItem]) -> dict[int, float]:
        """Return row -> summed weight of the known items, in the order of their last places."""
        weights: dict[int, float] = {}
        for item in history:
            row = self.rows.get(item.item_id)
            if row is not None:
                weights[row] = weights.pop(row, 0.0) + item.weight
        return weights

    def _unknown(self, item_ids: Iterable[str]) -> list[str]:
        return list(dict.fromkeys(item_id for item_id in item_ids if item_id not in self.rows))

    def _features(self, names: Sequence[str]) -> tuple[list[int], list[str]]:
        """Return the numbers of the known features, and the unknown ones, which no item has."""
        known = [self.labels[name] for name in names if name in self.labels]
        return known, list(dict.fromkeys(name for name in names if name not in self.labels))

    def _recommended(self, recommendation: Recommendation) -> dict[str, Any]:
        return {
            "item_id": recommendation.item_id,
            "title": recommendation.title,
            "score": recommendation.score,
            "reasons": [self._reason(reason) for reason in recommendation.because],
        }

    def _reason(self, reason: Reason) -> dict[str, Any]:
        recommender = self.bundle.recommender
        if reason.row is not None:
            item_id, title = recommender.item_ids[reason.row], recommender.titles[reason.row]
            return {"kind": "history", "item_id": item_id, "title": title, "share": reason.share}
        kind = "other" if reason.kind == "others" else reason.kind
        return {"kind": kind, "item_id": None, "title": kind, "share": reason.share}
