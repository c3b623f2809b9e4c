"""A client's own side of an order: its model, its data, and its users' embeddings, which never leave it."""

from __future__ import annotations

import fnmatch
import hashlib
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import CorruptArtifact
from models.evaluation.judgement import RATINGS
from models.evaluation.trained_pairs import pair_keys
from models.federation.model import GlobalModel, ItemArrays
from models.kernel.arrays import ArrayGroup
from models.kernel.splitmix import Keys
from models.recommenders.base.users import UserArrays
from tasks.clients.client_rows import catalog_keys
from tasks.clients.silo_data import SiloData, load_silo
from tasks.clients.trained_pairs import note_trained
from tasks.exchange.codec import decode, encode
from tasks.exchange.models import fetch_model
from tasks.local.atomic import write_atomically
from tasks.messages.orders import ClientOrder, StartingPoint

_KIND = "user_state"
_FILES = "round-*.safetensors"
# Prefix of the names of the residual's arrays.
_RESIDUAL = "residual."


class UserStates:
    """A client's user embeddings and the residual of its updates, one file for each round of its training.

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
        self,
        round_: int,
        users: UserArrays,
        user_ids: tuple[str, ...],
        *,
        folded_in: bool = False,
        first: int = 0,
        kept: Collection[int] = (),
        residual: ArrayGroup | None = None,
    ) -> None:
        """Store the state after `round_`, and delete those that are no longer needed.

        Args:
            round_: round of the model with which the users were trained.
            users: the users' arrays.
            user_ids: the user id of each row.
            folded_in: whether the job serves users by fold-in of their histories. It then trains these arrays
                only to train the items.
            first: states of earlier rounds are deleted, except those of the rounds `kept`.
            kept: these rounds.
            residual: what the client's updates have left out so far.
        """
        arrays = {
            "embeddings": users.embeddings,
            "biases": users.biases,
            "embedding_accumulators": users.embedding_accumulators,
            "bias_accumulators": users.bias_accumulators,
        }
        if residual is not None:
            arrays |= {f"{_RESIDUAL}{name}": array for name, array in residual.named()}
        facts = {
            "kind": _KIND,
            "round": round_,
            "user_ids": user_ids,
            "sha256": _digest(arrays),
            "folded_in": folded_in,
        }
        needless = self._needless(first, kept)
        if not needless:
            # Only the silo's own account may read its users.
            self._silo.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in needless[1:]:
            path.unlink(missing_ok=True)
        content, instead_of = encode(arrays, facts), needless[0] if needless else None
        write_atomically(self._file(round_), content, durable=False, instead_of=instead_of)

    def read(self, round_: int) -> tuple[UserArrays, tuple[str, ...]]:
        """Return the state after `round_` and the user id of each of its rows.

        Raises:
            CorruptArtifact: the state is missing or damaged.
        """
        arrays, facts = self._stored(round_)
        own = {name: array for name, array in arrays.items() if not name.startswith(_RESIDUAL)}
        return UserArrays(**own), tuple(facts["user_ids"])

    def residual(self, round_: int) -> ArrayGroup | None:
        """Return what the client's updates have left out up to `round_`, or None if they left out nothing.

        Raises:
            CorruptArtifact: the state is missing or damaged.
        """
        arrays, _ = self._stored(round_)
        found = {
            name.removeprefix(_RESIDUAL): array
            for name, array in arrays.items()
            if name.startswith(_RESIDUAL)
        }
        return ItemArrays(**found) if found else None

    def folded_in(self, round_: int) -> bool:
        """Return whether the job serves users by fold-in instead of by the state after `round_`.

        Raises:
            CorruptArtifact: the state is missing or damaged.
        """
        return bool(self._stored(round_)[1].get("folded_in", False))

    def nearest(self, round_: int) -> int | None:
        """Return the stored round nearest to `round_`, the later of two equally near; None without states."""
        found = [int(path.stem.removeprefix("round-")) for path in self._folder.glob(_FILES)]
        return min(found, key=lambda each: (abs(each - round_), -each), default=None)

    def _needless(self, first: int, kept: Collection[int]) -> list[Path]:
        """Return the states before round `first` that are not `kept`."""
        end, staying = _file_name(first), {_file_name(each) for each in kept}
        try:
            # Once per client and round, so not with a Path for each file.
            names = fnmatch.filter(os.listdir(self._folder), _FILES)  # noqa: PTH208
        except FileNotFoundError:
            return []
        return [self._folder / name for name in names if name < end and name not in staying]

    def _stored(self, round_: int) -> tuple[dict[str, np.ndarray], Mapping[str, Any]]:
        path = self._file(round_)
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise CorruptArtifact(
                f"The user embeddings of round {round_} are missing: {path}.",
                next_step="Restore the silo's folder, or start a new job.",
            ) from error
        arrays, facts = decode(data, str(path))
        if facts.get("kind") != _KIND:
            raise CorruptArtifact(f"{path} holds a {facts.get('kind')!r}, expected a {_KIND!r}.")
        if facts.get("sha256") != _digest(arrays):
            raise CorruptArtifact(
                f"{path} is damaged: its arrays differ from those that were written.",
                next_step="Restore the silo's folder, or start a new job.",
            )
        return arrays, facts

    def _file(self, round_: int) -> Path:
        return self._folder / _file_name(round_)


def _file_name(round_: int) -> str:
    return f"round-{round_:06d}.safetensors"


def base_of(order: ClientOrder) -> GlobalModel:
    """Return the global model that an order trains from or evaluates.

    Raises:
        CorruptArtifact: its bytes are missing, changed, or not a model.
    """
    return fetch_model(order.job.exchange_url, order.base)


def data_of(order: ClientOrder) -> SiloData:
    """Return the data of the order's client."""
    job = order.job
    return load_silo(
        job.data_dir,
        job.data_digest,
        order.client_id,
        job.evaluation_seed,
        job.negatives,
        job.silos_dir,
        job.earlier_jobs,
        job.earlier_records,
        job.users_share,
        # Otherwise one user more would change what noise cannot hide: the other users' held-out cases.
        by_id=job.noise is not None,
    )


def note_training(order: ClientOrder, data: SiloData) -> None:
    """Write into the client's private folder on which interactions its family trains in the order's job."""
    job = order.job

    def keys() -> Keys:
        of_items = catalog_keys(job.data_dir, job.data_digest)
        if job.family.judgement is RATINGS:
            rated = data.rated.ratings
            return pair_keys(data.user_ids, of_items, rated.users, rated.items)
        return pair_keys(data.user_ids, of_items, data.split.train_users, data.split.train_items)

    note_trained(order.silo, job.job_id, keys)


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


def residual_of(order: ClientOrder) -> ArrayGroup | None:
    """Return what a client's updates have left out in the rounds from which the order's job continues.

    A job that starts from an earlier job's model begins with nothing left out.

    Raises:
        CorruptArtifact: the state is missing or damaged.
    """
    start = order.start
    if not order.job.family.feeds_back or start.job_id is None or not start.exact:
        return None
    return UserStates(order.silo, start.job_id).residual(start.round)


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


# numpy works the name out anew each time, which takes longer than hashing one user.
_dtype_name = lru_cache(str)


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    # No other party stores the hash of a private file, so the file contains its own.
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].shape} {_dtype_name(arrays[name].dtype)}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()
