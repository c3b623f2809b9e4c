"""A client's private interactions, read and split once per process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from threading import Lock
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from models.errors import CorruptArtifact, InvalidInput
from models.evaluation.ranking import HeldOutRanks, Scores, held_out_ranks
from models.evaluation.rating_split import split_ratings
from models.evaluation.split import Split, sample_negatives, split_leave_one_out
from models.kernel.histories import Histories
from models.kernel.streams import user_keys
from models.recommenders.base.data import Part
from models.recommenders.base.ratings import RatedData, Ratings
from models.recommenders.base.training_set import TrainingSet
from tasks.datasets.partition_reader import Partition, open_partition, read_interaction_table

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
    """

    client_id: str
    user_ids: tuple[str, ...]
    n_items: int
    split: Split
    seed: int
    negatives: int
    rating_values: np.ndarray | None

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
        return self._negatives(self.split.validation_users, "validation")

    @cached_property
    def test_negatives(self) -> np.ndarray:
        """Return (cases, negatives): item rows, -1 where there are fewer."""
        return self._negatives(self.split.test_users, "test")

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

    def ranks(self, scores: Scores, part: Part) -> HeldOutRanks:
        """Return the ranks of the held-out interactions by the scores of the client's users."""
        split = self.split
        if part == "validation":
            users, items, negatives = (
                split.validation_users,
                split.validation_items,
                self.validation_negatives,
            )
        else:
            users, items, negatives = split.test_users, split.test_items, self.test_negatives
        return held_out_ranks(
            scores,
            self.n_items,
            case_users=users,
            case_items=items,
            train_users=split.train_users,
            train_items=split.train_items,
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

    def _negatives(self, case_users: np.ndarray, name: str) -> np.ndarray:
        return sample_negatives(
            case_users,
            *self._pairs,
            self.n_items,
            n=self.negatives,
            seed=self.seed,
            client_id=self.client_id,
            split_name=name,
        )

    def _rating_parts(self, values: np.ndarray) -> RatingParts:
        users, items = self._pairs
        keys = user_keys(self.seed, "rating split", self.user_ids)
        last, chosen = (
            split_ratings(keys, users, items, validation=validation, test_share=_TEST_SHARE)
            for validation in (False, True)
        )

        def part(mask: np.ndarray) -> Ratings:
            return Ratings.of(users[mask], items[mask], values[mask], self._shape)

        return RatingParts(part(chosen.train), part(chosen.held_out), part(last.held_out))


@dataclass(frozen=True)
class RatingParts:
    """A client's ratings in three parts, with the same user rows. Each rating is assigned independently.

    Attributes:
        training: ratings for training.
        validation: ratings for choices.
        test: ratings for reported metrics.
    """

    training: Ratings
    validation: Ratings
    test: Ratings


class _Source(NamedTuple):
    """What clients' data are laid out from, the same for all clients of a job."""

    data_dir: str
    digest: str
    seed: int
    negatives: int


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


def load_silo(data_dir: str, digest: str, client_id: str, seed: int, negatives: int) -> SiloData:
    """Return a client's data, split for leave-one-out evaluation.

    Args:
        data_dir: folder of the partition.
        digest: the partition's expected digest.
        client_id: the client.
        seed: the job's seed.
        negatives: number of sampled negatives of a held-out case.

    Raises:
        CorruptArtifact: the data are not those that the job was opened with.
        CatalogMismatch: an interaction is with an item that the catalogue does not have.
    """
    source = _Source(data_dir, digest, seed, negatives)
    return _KEPT.get(source, client_id, lambda: _laid_out(source, client_id))


def _laid_out(source: _Source, client_id: str) -> SiloData:
    partition = _opened(source.data_dir, source.digest)
    rows = client_rows(partition, client_id)
    user_ids, users, items, times, ratings = rows
    return SiloData(
        client_id=client_id,
        user_ids=user_ids,
        n_items=len(partition.catalog),
        split=split_leave_one_out(users, items, times, len(user_ids), source.seed),
        seed=source.seed,
        negatives=source.negatives,
        rating_values=None if ratings is None else ratings[np.lexsort((items, users))],
    )


# With many small clients, reading catalogue and manifest for each would cost more than reading their data.
@lru_cache(maxsize=4)
def _opened(data_dir: str, digest: str) -> Partition:
    partition = open_partition(data_dir)
    if partition.digest != digest:
        raise CorruptArtifact(
            f"The partition {data_dir} has digest {partition.digest[:12]}, but the job was opened with "
            f"{digest[:12]}.",
            next_step="Start a new job on the new data, or put the old data back.",
        )
    return partition


class ClientRows(NamedTuple):
    """A client's interactions.

    Attributes:
        user_ids: ids of the users, sorted; the position of an id is its user's row.
        users, items: (n,), user and item rows.
        times: (n,), seconds since 1970; None without timestamps.
        ratings: (n,); None without ratings.
    """

    user_ids: tuple[str, ...]
    users: np.ndarray
    items: np.ndarray
    times: np.ndarray | None
    ratings: np.ndarray | None


def client_rows(partition: Partition, client_id: str) -> ClientRows:
    """Return a client's interactions in the order of the source.

    Raises:
        CorruptArtifact: the file is missing or its bytes changed.
        CatalogMismatch: an interaction is with an item that the catalogue does not have.
    """
    table = read_interaction_table(partition.client(client_id))
    ids, places = _encoded(table, "user_id")
    order = sorted(range(len(ids)), key=ids.__getitem__)
    rows = np.empty(len(ids), dtype=np.int32)
    rows[order] = np.arange(len(ids), dtype=np.int32)
    item_ids, item_places = _encoded(table, "item_id")

    def column(name: str, dtype: type[np.generic]) -> np.ndarray | None:
        if name not in table.column_names:
            return None
        return np.asarray(table.column(name).to_numpy()).astype(dtype)

    return ClientRows(
        tuple(ids[place] for place in order),
        rows[places],
        partition.catalog.rows_of(item_ids)[item_places],
        column("timestamp", np.int64),
        column("rating", np.float64),
    )


def _encoded(table: pa.Table, name: str) -> tuple[list[str], np.ndarray]:
    """Return the different texts of a column, and for each row the place of its text among them."""
    encoded = table.column(name).combine_chunks().dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy()
