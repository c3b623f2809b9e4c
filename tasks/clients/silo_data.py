"""A client's private interactions, read and split once per process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import NamedTuple

import numpy as np

from models.errors import InvalidInput
from models.evaluation.ranking import HeldOutRanks, Scores, held_out_ranks
from models.evaluation.rating_split import split_ratings
from models.evaluation.split import (
    Split,
    sample_negatives,
    sampled_users,
    split_leave_one_out,
    user_numbers,
)
from models.evaluation.trained_pairs import pair_keys
from models.kernel.histories import Histories
from models.kernel.metric import Metric
from models.kernel.streams import user_keys
from models.recommenders.base.data import Part
from models.recommenders.base.ratings import RatedData, Ratings
from models.recommenders.base.training_set import TrainingSet
from tasks.clients.client_rows import ClientRows, catalog_keys, client_rows, opened_partition
from tasks.clients.trained_pairs import seen

# Share of the ratings that is for the test. A fifth of the others is for validation.
_TEST_SHARE = 0.1
# Bytes of laid out data that a process keeps. MovieLens-25M takes about as much.
_KEPT_BYTES = 1 << 30
# What the arrays of a client take beside their values, and what one interaction takes in all of them.
_BYTES_PER_CLIENT, _BYTES_PER_INTERACTION = 6_000, 56


@dataclass(frozen=True)
class SiloData:
    """The data on which a client trains and evaluates. What a step does not use is not made.

    Attributes:
        client_id: the client.
        user_ids: the client's users; the position of an id is its row in the client's user arrays.
        n_items: number of items of the catalogue.
        split: training, validation and test cases by user and item row.
        seed: seed of the split and of the negatives.
        negatives: number of sampled negatives of a held-out case.
        rating_values: (n,), the rating of each interaction, sorted by user and item; None without ratings.
        seen: (n,), whether an earlier training of the model has seen the interaction, in the same order. It
            is no held-out case then. None if the model starts fresh.
        users_share: share of the users whose held-out cases are evaluated.
        by_id: whether all that is random of a user follows from its id. Otherwise it follows from its row,
            which one user more or less changes for others.
    """

    client_id: str
    user_ids: tuple[str, ...]
    n_items: int
    split: Split
    seed: int
    negatives: int
    rating_values: np.ndarray | None
    seen: np.ndarray | None = None
    users_share: float = 1.0
    by_id: bool = False

    @cached_property
    def training(self) -> TrainingSet:
        """Return the training part as a sparse matrix, for LightFM."""
        return TrainingSet(self.split.train_users, self.split.train_items, self._shape)

    @cached_property
    def histories(self) -> Histories:
        """Return the training part as histories, for the other families."""
        split = self.split
        return Histories.of(split.train_users, split.train_items, split.train_places, self._shape)

    @cached_property
    def validation_negatives(self) -> np.ndarray:
        """Return (cases, negatives): item rows, -1 where there are fewer."""
        return self._negatives("validation")

    @cached_property
    def test_negatives(self) -> np.ndarray:
        """Return (cases, negatives): item rows, -1 where there are fewer."""
        return self._negatives("test")

    @cached_property
    def ratings(self) -> RatingParts | None:
        """Return the ratings, with a split of their own; None if the data have no ratings."""
        return None if self.rating_values is None else self._rating_parts(self.rating_values)

    @property
    def rated(self) -> RatedData:
        """Return the training ratings.

        Raises:
            InvalidInput: the data have no ratings.
        """
        return RatedData(self.rating_parts.training, self.user_ids)

    @property
    def rating_parts(self) -> RatingParts:
        """Return the ratings in three parts.

        Raises:
            InvalidInput: the data have no ratings.
        """
        if self.ratings is None:
            raise InvalidInput(
                "The interactions have no ratings to learn from.",
                next_step="Take a partition of interactions with a column 'rating', or another train.family.",
            )
        return self.ratings

    def held_out_ratings(self, part: Part) -> Ratings:
        """Return the held-out ratings.

        Raises:
            InvalidInput: the data have no ratings.
        """
        return {"validation": self.rating_parts.validation, "test": self.rating_parts.test}[part]

    def left_out(self, part: Part, *, of_ratings: bool) -> Metric:
        """Return the number of held-out cases that do not count, because the model has seen them, of all.

        Args:
            part: validation or test cases.
            of_ratings: whether the cases are ratings.
        """
        if of_ratings:
            return self.rating_parts.left_out[part]
        seen = self._is_seen(*self._cases(part))
        return Metric(float(seen.sum()), float(len(seen)))

    def ranks(self, scores: Scores, part: Part) -> HeldOutRanks:
        """Return the ranks of the held-out interactions by the scores of the client's users."""
        users, items = self._cases(part)
        negatives = self.validation_negatives if part == "validation" else self.test_negatives
        if self.seen is not None:
            counted = ~self._is_seen(users, items)
            users, items, negatives = users[counted], items[counted], negatives[counted]
        return held_out_ranks(
            scores,
            self.n_items,
            case_users=users,
            case_items=items,
            train_users=self.split.train_users,
            train_items=self.split.train_items,
            negatives=negatives,
        )

    @property
    def nbytes(self) -> int:
        """Return about how many bytes these data take when everything is made."""
        cases = len(self.split.validation_users)
        interactions = len(self.split.train_users) + 2 * cases
        return (
            _BYTES_PER_CLIENT
            + _BYTES_PER_INTERACTION * interactions
            + 2 * cases * self.negatives * np.dtype(np.int32).itemsize
        )

    @property
    def _shape(self) -> tuple[int, int]:
        return len(self.user_ids), self.n_items

    @property
    def _pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the user and the item rows of all interactions, sorted by user and item."""
        split = self.split
        users = np.concatenate([split.train_users, split.validation_users, split.test_users])
        items = np.concatenate([split.train_items, split.validation_items, split.test_items])
        order = np.lexsort((items, users))
        return users[order], items[order]

    def _cases(self, part: Part) -> tuple[np.ndarray, np.ndarray]:
        """Return the user and the item rows of the held-out interactions that are evaluated."""
        split = self.split
        users, items = split.test_users, split.test_items
        if part == "validation":
            users, items = split.validation_users, split.validation_items
        evaluated = self._evaluated[users]
        return users[evaluated], items[evaluated]

    @cached_property
    def _evaluated(self) -> np.ndarray:
        return sampled_users(self.user_ids, self.users_share, self.seed)

    def _is_seen(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Return (n,): whether an earlier training has seen these interactions of the client."""
        if self.seen is None:
            return np.zeros(len(users), dtype=np.bool_)
        all_users, all_items = (rows.astype(np.int64) for rows in self._pairs)
        places = np.searchsorted(
            all_users * self.n_items + all_items, users.astype(np.int64) * self.n_items + items
        )
        found: np.ndarray = self.seen[places]
        return found

    def _negatives(self, part: Part) -> np.ndarray:
        return sample_negatives(
            self._cases(part)[0],
            *self._pairs,
            self.n_items,
            n=self.negatives,
            seed=self.seed,
            client_id=self.client_id,
            split_name=part,
            numbers=user_numbers(self.user_ids, self.seed) if self.by_id else None,
        )

    def _rating_parts(self, values: np.ndarray) -> RatingParts:
        users, items = self._pairs
        keys = user_keys(self.seed, "rating split", self.user_ids)
        last, chosen = (
            split_ratings(keys, users, items, validation=validation, test_share=_TEST_SHARE)
            for validation in (False, True)
        )

        seen = np.zeros(len(users), dtype=np.bool_) if self.seen is None else self.seen

        def part(mask: np.ndarray) -> Ratings:
            return Ratings.of(users[mask], items[mask], values[mask], self._shape)

        held_out: dict[Part, np.ndarray] = {"validation": chosen.held_out, "test": last.held_out}
        validation, test = (part(mask & ~seen) for mask in held_out.values())
        left_out = {
            name: Metric(float(seen[mask].sum()), float(mask.sum())) for name, mask in held_out.items()
        }
        return RatingParts(part(chosen.train), validation, test, left_out)


@dataclass(frozen=True)
class RatingParts:
    """A client's ratings in three parts, with the same user rows. Each rating is assigned independently.

    Attributes:
        training: ratings for training.
        validation: ratings for choices.
        test: ratings for reported metrics.
        left_out: the held-out ratings that an earlier training has seen, of all.
    """

    training: Ratings
    validation: Ratings
    test: Ratings
    left_out: Mapping[Part, Metric]


class _Source(NamedTuple):
    """What clients' data are laid out from, the same for all clients of a job."""

    data_dir: str
    digest: str
    seed: int
    negatives: int
    silos_dir: str = ""
    earlier_jobs: tuple[str, ...] = ()
    earlier_records: tuple[int, ...] = ()
    users_share: float = 1.0
    by_id: bool = False


class KeptSilos:
    """Clients' data that a process keeps, up to a limit of bytes.

    A round asks each client once. Were the least recently used data dropped, more clients than fit would find
    none of theirs. So the first ones stay until another job's data need their place.

    Args:
        limit: in bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = Lock()
        self._kept: dict[_Source, dict[str, SiloData]] = {}
        self._bytes: dict[_Source, int] = {}

    def get(self, source: _Source, client_id: str, lay_out: Callable[[], SiloData]) -> SiloData:
        """Return the client's kept data, or what `lay_out` makes of its file."""
        found = self._kept.get(source, {}).get(client_id)
        if found is not None:
            return found
        data = lay_out()
        with self._lock:
            return self._keep(source, client_id, data)

    @property
    def nbytes(self) -> int:
        """Return about how many bytes all kept data take."""
        return sum(self._bytes.values())

    def _keep(self, source: _Source, client_id: str, data: SiloData) -> SiloData:
        mine = self._bytes.get(source, 0)
        if mine + data.nbytes > self._limit:
            return data
        for other in [each for each in self._kept if each != source]:
            if self.nbytes + data.nbytes > self._limit:
                del self._kept[other], self._bytes[other]
        # Two threads may have laid out the same data; all get the same.
        silos = self._kept.setdefault(source, {})
        if client_id not in silos:
            self._bytes[source] = mine + data.nbytes
        return silos.setdefault(client_id, data)


_KEPT = KeptSilos(_KEPT_BYTES)


def load_silo(
    data_dir: str,
    digest: str,
    client_id: str,
    seed: int,
    negatives: int,
    silos_dir: str = "",
    earlier_jobs: tuple[str, ...] = (),
    earlier_records: tuple[int, ...] = (),
    users_share: float = 1.0,
    by_id: bool = False,
) -> SiloData:
    """Return a client's data, split for leave-one-out evaluation.

    Args:
        data_dir: folder of the partition.
        digest: the partition's expected digest.
        client_id: the client.
        seed: the job's seed.
        negatives: number of sampled negatives of a held-out case.
        silos_dir: parent of the clients' private folders; used only with earlier jobs.
        earlier_jobs: the jobs whose training interactions are no held-out cases.
        earlier_records: how many records each of them must have left, at least.
        users_share: share of the users whose held-out cases are evaluated.
        by_id: whether a user's split and negatives depend on no other user, as privacy needs.

    Raises:
        CorruptArtifact: the data are not those that the job was opened with.
        CatalogMismatch: an interaction is with an item that the catalogue does not have.
    """
    source = _Source(
        data_dir, digest, seed, negatives, silos_dir, earlier_jobs, earlier_records, users_share, by_id
    )
    return _KEPT.get(source, client_id, lambda: _laid_out(source, client_id))


def _laid_out(source: _Source, client_id: str) -> SiloData:
    partition = opened_partition(source.data_dir, source.digest)
    rows = client_rows(partition, client_id)
    user_ids, users, items, times, ratings = rows
    order = np.lexsort((items, users))
    return SiloData(
        client_id=client_id,
        user_ids=user_ids,
        n_items=len(partition.catalog),
        split=split_leave_one_out(
            users,
            items,
            times,
            len(user_ids),
            source.seed,
            user_numbers(user_ids, source.seed) if source.by_id else None,
        ),
        seed=source.seed,
        negatives=source.negatives,
        rating_values=None if ratings is None else ratings[order],
        seen=_seen(source, rows)[order] if source.earlier_jobs else None,
        users_share=source.users_share,
        by_id=source.by_id,
    )


def _seen(source: _Source, rows: ClientRows) -> np.ndarray:
    of_items = catalog_keys(source.data_dir, source.digest)
    keys = pair_keys(rows.user_ids, of_items, rows.users, rows.items)
    return seen(keys, source.silos_dir, source.earlier_jobs, source.earlier_records)
