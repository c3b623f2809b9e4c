"""A model that answers: an opened bundle with the indices that requests need."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import InvalidInput
from models.kernel.arrays import FloatArray
from models.recommenders.items.titles import folded
from models.recommenders.scoring.reasons import Reason
from models.recommenders.scoring.recommender import Recommendation
from serving.problems import Problem, unprocessable
from serving.schema import Question, RatingQuestion, Seen
from tasks.bundles.bundle import Bundle, open_bundle
from tasks.bundles.pointer import Target, users_folder
from tasks.bundles.users_bundle import LocalUsers, open_users

_REASONS = 3
# The standard normal distribution's 95 % point: between its 5 % and 95 % points lie 90 %.
_Z = 1.6448536
# More matches than this are not ranked: whoever types one letter wants to type on.
_MOST_MATCHES = 2_000
_SHOWN = 5
_QUOTED = 100
# Above this size an answer takes milliseconds, which other requests need not wait for.
_SLOW = 8_000_000


@dataclass(frozen=True)
class Served:
    """One version, ready to answer.

    Attributes:
        target: where it came from.
        bundle: the opened model.
        model: what every reply says of it.
        rows: item id -> row.
        labels: feature -> its number.
        users: of the silo that this service stands in.
    """

    target: Target
    bundle: Bundle
    model: Mapping[str, Any]
    rows: Mapping[str, int]
    labels: Mapping[str, int]
    users: LocalUsers | None = None

    @classmethod
    def load(cls, folder: Path, target: Target) -> Served:
        """The version that a pointer names, all of it proved.

        Raises:
            CorruptArtifact: see `open_bundle` and `open_users`.
        """
        bundle = open_bundle(folder / target.bundle, target.manifest_sha256)
        facts = bundle.facts
        users = None
        if target.users_sha256:
            shape = (int(facts["items"]), int(facts["dims"]))
            users = open_users(users_folder(folder, target.bundle), target.users_sha256, shape)
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
        """Its number in the registry."""
        return int(self.model["version"])

    @property
    def is_slow(self) -> bool:
        """Whether answers should be worked out beside the event loop."""
        passes = self.bundle.recommender.scorer.passes
        return len(self.rows) * int(self.bundle.facts["dims"]) * passes > _SLOW

    def recommend(self, question: Question) -> list[dict[str, Any]]:
        """The recommendations of an answer.

        Raises:
            Problem: 404, an item or feature of the question is unknown.
        """
        return self._answer(question, self._weights(question.history))

    def recommend_to(self, user_id: str, question: Question) -> tuple[str, list[dict[str, Any]]]:
        """The recommendations for a user of this silo, and what they were worked out from.

        Of a user that the silo knows, items of the question's history are left out and otherwise not heard.

        Raises:
            Problem: 404, an item or feature of the question is unknown.
        """
        asked = self._weights(question.history)
        user = self.users.find(user_id) if self.users else None
        if user is None:
            return "history", self._answer(question, asked)
        stored = dict.fromkeys(user.history, 1.0)
        answer = self._answer(question, stored, vector=user.vector, exclude=list(asked))
        return "stored history" if user.vector is None else "embedding", answer

    def _answer(
        self,
        question: Question,
        weights: Mapping[int, float],
        *,
        vector: npt.NDArray[np.float64] | None = None,
        exclude: Sequence[int] = (),
    ) -> list[dict[str, Any]]:
        history = list(weights)
        found = self.bundle.recommender.recommend(
            history,
            question.k,
            [*exclude, *(self._row(item_id, "exclude") for item_id in question.exclude)],
            weights=list(weights.values()),
            allowed=self._allowed(question.features),
            diversity=question.diversity,
            reasons=_REASONS if history else 0,
            vector=vector,
        )
        return [self._plain(one) for one in found]

    def rate(self, question: RatingQuestion) -> list[dict[str, Any]]:
        """The predicted ratings of an answer.

        Raises:
            Problem: 404, an item of the question is unknown; 409, this version predicts no ratings; 422, a
                rating lies outside its scale, or an item stands twice in the history.
        """
        rater = self.bundle.recommender.scorer.rater
        if rater is None:
            what = f"Version {self.version} recommends items and predicts no ratings."
            raise Problem(409, "no-ratings", f"{what} Promote one of the family bayesian_mf.")
        known = [self._row(seen.item_id, "history") for seen in question.history]
        wanted = [self._row(item_id, "items") for item_id in question.items]
        try:
            found = rater.ratings(known, [seen.rating for seen in question.history], wanted)
        except InvalidInput as error:
            raise unprocessable([{"where": "history", "what": error.what.rstrip(".")}]) from error
        lowest, highest = rater.scale
        recommender = self.bundle.recommender
        columns = zip(
            wanted, found.means.tolist(), found.deviations.tolist(), found.spreads.tolist(), strict=True
        )
        return [
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

    def row(self, item_id: str) -> int:
        """The row of an item that a path names.

        Raises:
            Problem: 404, there is none.
        """
        return self._row(item_id, "item_id")

    def similar(self, row: int, k: int) -> list[dict[str, Any]]:
        """The k items most like the one in this row."""
        return [vars(one) for one in self.bundle.recommender.similar(row, k)]

    def search(self, query: str, limit: int) -> list[dict[str, Any]]:
        """Items whose title begins with the query, then those with a word that does, then any that hold it.

        Where items match alike, those come first that the model holds for more popular.
        """
        text = folded(query)
        rows = dict.fromkeys([self.rows[query]] if query in self.rows else [])
        for before in (b"\n", b" ", b""):
            if len(rows) < limit and (text or before == b"\n"):
                rows |= dict.fromkeys(self._matching(before + text.encode()))
        return [self._item(row) for row in list(rows)[:limit]]

    @cached_property
    def _popularity(self) -> FloatArray:
        """The scores (items,) without a history."""
        return self.bundle.recommender.scores([])

    def _matching(self, text: bytes) -> list[int]:
        found: dict[int, None] = {}
        for match in re.finditer(re.escape(text), self.bundle.search.texts):
            # A match at the border of two titles begins in the first.
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

    def _weights(self, history: Sequence[Seen]) -> dict[int, float]:
        """Row -> weight, in the order of the history, in which the latest place of an item counts."""
        weights: dict[int, float] = {}
        for seen in history:
            row = self._row(seen.item_id, "history")
            weights[row] = weights.pop(row, 0.0) + seen.weight
        return weights

    def _row(self, item_id: str, where: str) -> int:
        try:
            return self.rows[item_id]
        except KeyError:
            raise _unknown_item(item_id, where) from None

    def _allowed(self, features: Sequence[str]) -> npt.NDArray[np.bool_] | None:
        if not features:
            return None
        unknown = [name for name in features if name not in self.labels]
        if unknown:
            column = unknown[0].partition(":")[0]
            alike = [name for name in self.labels if name.startswith(f"{column}:")] or list(self.labels)
            some = ", ".join(alike[:_SHOWN]) or "none"
            what = f"no item has the feature {unknown[0][:_QUOTED]!r}; there are, for example: {some}"
            raise Problem(404, "unknown-feature", f"features: {what}.", [{"where": "features", "what": what}])
        return self.bundle.labels.having_any([self.labels[name] for name in features])

    def _plain(self, one: Recommendation) -> dict[str, Any]:
        return {
            "item_id": one.item_id,
            "title": one.title,
            "score": one.score,
            "reasons": [self._reason(reason) for reason in one.because],
        }

    def _reason(self, reason: Reason) -> dict[str, Any]:
        recommender = self.bundle.recommender
        if reason.row is not None:
            item_id, title = recommender.item_ids[reason.row], recommender.titles[reason.row]
            return {"kind": "history", "item_id": item_id, "title": title, "share": reason.share}
        kind = "other" if reason.kind == "others" else reason.kind
        return {"kind": kind, "item_id": None, "title": kind, "share": reason.share}


def _unknown_item(item_id: str, where: str) -> Problem:
    what = f"the model knows no item {item_id[:_QUOTED]!r}"
    return Problem(404, "unknown-item", f"{where}: {what}.", [{"where": where, "what": what}])
