"""The ratings of a partition's silos, split into training and held-out parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.errors import InvalidInput
from models.evaluation.rating_split import split_ratings
from models.kernel.splitmix import Keys
from models.kernel.streams import user_keys
from models.recommenders.base.ratings import Ratings
from models.recommenders.rating.bayesian_mf import BayesianMfSpec
from models.recommenders.rating.chain import RatingClient
from tasks.datasets.partition_reader import Partition, read_interactions


@dataclass(frozen=True)
class RatingSilo:
    """All ratings of a client.

    Attributes:
        id: the client.
        user_ids: its users; the position of an id is the user's row.
        users, items: (n,), rows.
        values: (n,), the ratings.
        n_items: number of items of the catalogue.
    """

    id: str
    user_ids: tuple[str, ...]
    users: np.ndarray
    items: np.ndarray
    values: np.ndarray
    n_items: int

    def by_user(self) -> list[RatingSilo]:
        """Return one client per user."""
        alone = []
        for row, user_id in enumerate(self.user_ids):
            own = self.users == row
            users = np.zeros(own.sum(), dtype=np.int64)
            client_id = f"{self.id}/{user_id}"
            alone.append(
                RatingSilo(client_id, (user_id,), users, self.items[own], self.values[own], self.n_items)
            )
        return alone

    def split(self, seed: int, *, validation: bool) -> SplitSilo:
        """Return the client with its ratings split into training and held-out parts by a seed."""
        keys = user_keys(seed, "rating split", self.user_ids)
        parts = split_ratings(keys, self.users, self.items, validation=validation)
        train, held = parts.train, parts.held_out
        shape = (len(self.user_ids), self.n_items)
        training = Ratings.of(self.users[train], self.items[train], self.values[train], shape)
        held_out = Ratings.of(self.users[held], self.items[held], self.values[held], shape)
        return SplitSilo(self.id, training, held_out, user_keys(seed, "bayesian_mf", self.user_ids))


@dataclass(frozen=True)
class SplitSilo:
    """A client's ratings in two parts, both with the same user rows.

    Attributes:
        id: the client.
        training, held_out: its ratings.
        keys: (users,), the keys of its users' random draws.
    """

    id: str
    training: Ratings
    held_out: Ratings
    keys: Keys

    def client(self, spec: BayesianMfSpec) -> RatingClient:
        """Return the client of a chain, which predicts its held-out ratings."""
        return RatingClient(self.training, self.keys, self.held_out.users, self.held_out.items, spec)


def read_silos(partition: Partition) -> list[RatingSilo]:
    """Return the ratings of all clients, in the order of their ids.

    Raises:
        InvalidInput: the interactions have no ratings.
        CorruptArtifact: a client's file is missing or was changed.
    """
    silos = []
    for client in partition.clients:
        frame = read_interactions(client)
        if "rating" not in frame:
            raise InvalidInput(
                f"The interactions of client {client.id!r} in {partition.root} have no ratings.",
                next_step="Use a partition whose interactions have a column 'rating'.",
                client_id=client.id,
            )
        user_ids = tuple(sorted(frame["user_id"].unique()))
        row_of = {user_id: row for row, user_id in enumerate(user_ids)}
        silos.append(
            RatingSilo(
                client.id,
                user_ids,
                frame["user_id"].map(row_of).to_numpy(dtype=np.int64),
                partition.catalog.rows_of(frame["item_id"].tolist()),
                frame["rating"].to_numpy(dtype=np.float64),
                len(partition.catalog),
            )
        )
    return silos


def pooled(silos: Sequence[SplitSilo]) -> SplitSilo:
    """Join all silos into one with the users in the order of the silos, as a centralised model has them."""
    training = _together([each.training for each in silos])
    held_out = _together([each.held_out for each in silos])
    return SplitSilo("pooled", training, held_out, np.concatenate([each.keys for each in silos]))


def _together(parts: Sequence[Ratings]) -> Ratings:
    offsets = np.cumsum([0, *(len(each) for each in parts)])
    return Ratings.of(
        np.concatenate([each.users + offset for each, offset in zip(parts, offsets, strict=False)]),
        np.concatenate([each.items for each in parts]),
        np.concatenate([each.values for each in parts]),
        (int(offsets[-1]), parts[0].n_items),
    )
