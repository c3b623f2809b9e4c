"""A client's private data: its interactions, split once, and its users' embeddings, which never leave it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from models.errors import CorruptArtifact, InvalidInput
from models.evaluation.ranking import HeldOutRanks, Scores, held_out_ranks
from models.evaluation.rating_split import split_ratings
from models.evaluation.split import Split, sample_negatives, split_leave_one_out
from models.federation.model import GlobalModel
from models.kernel.histories import Histories
from models.kernel.streams import user_keys
from models.recommenders.base.data import Part
from models.recommenders.base.ratings import RatedData, Ratings
from models.recommenders.base.training_set import TrainingSet
from models.recommenders.base.users import UserArrays
from tasks.datasets.partition_reader import Partition, open_partition, read_interactions
from tasks.exchange.codec import decode, encode
from tasks.exchange.models import fetch_model
from tasks.local.atomic import write_atomically
from tasks.messages.orders import ClientOrder, StartingPoint

_KIND = "user_state"
# Share of the ratings that is for the test. A fifth of the others is for validation.
_TEST_SHARE = 0.1


@dataclass(frozen=True)
class SiloData:
    """The data on which a client trains and evaluates.

    Attributes:
        user_ids: the client's users; the position of an id is its row in the client's user arrays.
        split: training, validation and test cases by user and item row.
        training: the training part as a sparse matrix, for LightFM.
        histories: the same as histories, for the other families.
        validation_negatives, test_negatives: (cases, negatives) item rows, -1 where there are fewer.
        ratings: the ratings, with a split of their own; None if the data have no ratings.
    """

    user_ids: tuple[str, ...]
    split: Split
    training: TrainingSet
    histories: Histories
    validation_negatives: np.ndarray
    test_negatives: np.ndarray
    ratings: RatingParts | None

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
        users, items, negatives = {
            "validation": (split.validation_users, split.validation_items, self.validation_negatives),
            "test": (split.test_users, split.test_items, self.test_negatives),
        }[part]
        return held_out_ranks(
            scores,
            self.histories.n_items,
            case_users=users,
            case_items=items,
            train_users=split.train_users,
            train_items=split.train_items,
            negatives=negatives,
        )


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


# A client gets an order in each round. Reading and splitting its file each time would take longer than its
# training. The bound limits memory if one machine runs many clients.
@lru_cache(maxsize=64)
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
    partition = _opened(data_dir, digest)
    rows = client_rows(partition, client_id)
    user_ids, users, items, times = rows[:4]
    split = split_leave_one_out(users, items, times, len(user_ids), seed)
    shape = (len(user_ids), len(partition.catalog))
    drawn = {
        name: sample_negatives(
            case_users,
            users,
            items,
            shape[1],
            n=negatives,
            seed=seed,
            client_id=client_id,
            split_name=name,
        )
        for name, case_users in (("validation", split.validation_users), ("test", split.test_users))
    }
    return SiloData(
        user_ids=user_ids,
        split=split,
        training=TrainingSet(split.train_users, split.train_items, shape),
        histories=Histories.of(split.train_users, split.train_items, split.train_places, shape),
        validation_negatives=drawn["validation"],
        test_negatives=drawn["test"],
        ratings=None if rows.ratings is None else _rating_parts(rows, shape, seed),
    )


def _rating_parts(rows: ClientRows, shape: tuple[int, int], seed: int) -> RatingParts:
    keys = user_keys(seed, "rating split", rows.user_ids)
    last, chosen = (
        split_ratings(keys, rows.users, rows.items, validation=validation, test_share=_TEST_SHARE)
        for validation in (False, True)
    )

    def part(mask: np.ndarray) -> Ratings:
        return Ratings.of(rows.users[mask], rows.items[mask], np.asarray(rows.ratings)[mask], shape)

    return RatingParts(part(chosen.train), part(chosen.held_out), part(last.held_out))


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
        CatalogMismatch: an interaction is with an item that the catalogue does not have.
    """
    frame = read_interactions(partition.client(client_id))
    user_ids = tuple(sorted(frame["user_id"].unique()))
    row_of = {user_id: row for row, user_id in enumerate(user_ids)}
    return ClientRows(
        user_ids,
        frame["user_id"].map(row_of).to_numpy(dtype=np.int32),
        partition.catalog.rows_of(frame["item_id"].tolist()),
        frame["timestamp"].to_numpy(dtype=np.int64) if "timestamp" in frame else None,
        frame["rating"].to_numpy(dtype=np.float64) if "rating" in frame else None,
    )


class UserStates:
    """A client's user embeddings, one file for each round in which it trained.

    A round counts only when the coordinator has committed it. So a client never overwrites the state that it
    started from, and a repeated round starts from the same bytes.

    Args:
        silo: the client's private folder.
        job_id: the job of these rounds.
    """

    def __init__(self, silo: Path, job_id: str) -> None:
        self._silo = silo
        self._folder = silo / "state" / job_id

    def write(
        self, round_: int, users: UserArrays, user_ids: tuple[str, ...], *, folded_in: bool = False
    ) -> None:
        """Store the state after `round_`.

        Args:
            round_: round of the model with which the users were trained.
            users: the users' arrays.
            user_ids: the user id of each row.
            folded_in: whether the job serves users by fold-in of their histories. It then trains these arrays
                only to train the items.
        """
        arrays = {
            "embeddings": users.embeddings,
            "biases": users.biases,
            "embedding_accumulators": users.embedding_accumulators,
            "bias_accumulators": users.bias_accumulators,
        }
        facts = {
            "kind": _KIND,
            "round": round_,
            "user_ids": user_ids,
            "sha256": _digest(arrays),
            "folded_in": folded_in,
        }
        # Only the silo's own account may read its users.
        self._silo.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(self._file(round_), encode(arrays, facts), durable=False)

    def read(self, round_: int) -> tuple[UserArrays, tuple[str, ...]]:
        """Return the state after `round_` and the user id of each of its rows.

        Raises:
            CorruptArtifact: the state is missing or damaged.
        """
        arrays, facts = self._stored(round_)
        return UserArrays(**arrays), tuple(facts["user_ids"])

    def folded_in(self, round_: int) -> bool:
        """Return whether the job serves users by fold-in instead of by the state after `round_`.

        Raises:
            CorruptArtifact: the state is missing or damaged.
        """
        return bool(self._stored(round_)[1].get("folded_in", False))

    def nearest(self, round_: int) -> int | None:
        """Return the stored round nearest to `round_`, the later of two equally near; None without states."""
        found = [int(path.stem.removeprefix("round-")) for path in self._folder.glob("round-*.safetensors")]
        return min(found, key=lambda each: (abs(each - round_), -each), default=None)

    def forget_before(self, round_: int, kept: Collection[int] = ()) -> None:
        """Delete the states before `round_`, except those of the rounds `kept`."""
        staying = {self._file(each) for each in kept}
        for path in self._folder.glob("round-*.safetensors"):
            if path < self._file(round_) and path not in staying:
                path.unlink(missing_ok=True)

    def _stored(self, round_: int) -> tuple[dict[str, np.ndarray], Mapping[str, Any]]:
        path = self._file(round_)
        if not path.exists():
            raise CorruptArtifact(
                f"The user embeddings of round {round_} are missing: {path}.",
                next_step="Restore the silo's folder, or start a new job.",
            )
        arrays, facts = decode(path.read_bytes(), str(path))
        if facts.get("kind") != _KIND:
            raise CorruptArtifact(f"{path} holds a {facts.get('kind')!r}, expected a {_KIND!r}.")
        if facts.get("sha256") != _digest(arrays):
            raise CorruptArtifact(
                f"{path} is damaged: its arrays differ from those that were written.",
                next_step="Restore the silo's folder, or start a new job.",
            )
        return arrays, facts

    def _file(self, round_: int) -> Path:
        return self._folder / f"round-{round_:06d}.safetensors"


def base_of(order: ClientOrder) -> GlobalModel:
    """Return the global model that an order trains from or evaluates.

    Raises:
        CorruptArtifact: its bytes are missing, changed, or not a model.
    """
    return fetch_model(order.job.exchange_url, order.base)


def data_of(order: ClientOrder) -> SiloData:
    """Return the data of the order's client."""
    job = order.job
    return load_silo(job.data_dir, job.data_digest, order.client_id, job.evaluation_seed, job.negatives)


def users_of(order: ClientOrder, data: SiloData) -> UserArrays:
    """Return the user arrays from which an order starts.

    Raises:
        CorruptArtifact: the state is missing or damaged.
    """
    job, user_ids = order.job, data.user_ids
    return starting_users(
        order.silo,
        order.start,
        user_ids,
        lambda: job.family.initial_users(len(user_ids), seed=job.seed, client_id=order.client_id),
    )


def starting_users(
    silo: Path, start: StartingPoint, user_ids: tuple[str, ...], initial: Callable[[], UserArrays]
) -> UserArrays:
    """Return the user arrays from which a client starts a round.

    Users that are new since the state was written get initial arrays. Users that left are dropped.

    Args:
        silo: the client's private folder.
        start: the state to start from.
        user_ids: the user id of each row of the result.
        initial: returns the arrays of users that have not trained yet.

    Raises:
        CorruptArtifact: the state is missing or damaged.
        InvalidInput: the family keeps no users.
    """
    states = UserStates(silo, start.job_id) if start.job_id is not None else None
    round_ = start.round if states is None or start.exact else states.nearest(start.round)
    if states is None or round_ is None:
        return initial()
    known, known_ids = states.read(round_)
    if known_ids == user_ids:
        return known
    fresh = initial()
    row_of = {user_id: row for row, user_id in enumerate(known_ids)}
    pairs = [(row, row_of[user_id]) for row, user_id in enumerate(user_ids) if user_id in row_of]
    rows, known_rows = np.array(pairs, dtype=np.intp).reshape(-1, 2).T
    for one in fields(UserArrays):
        getattr(fresh, one.name)[rows] = getattr(known, one.name)[known_rows]
    return fresh


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    # No other party stores the hash of a private file, so the file contains its own.
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].shape} {arrays[name].dtype}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()
