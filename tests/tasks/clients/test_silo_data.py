"""A process lays a client's data out once, as long as they fit, and makes nothing that no step uses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.evaluation.protocols import LEAVE_ONE_OUT
from models.evaluation.split import sampled_users
from models.recommenders.base.data import Part
from models.recommenders.private.statistics import popularity_sums
from tasks.bench.quality.cases import clients_of
from tasks.clients.client_rows import client_rows
from tasks.clients.silo_data import KeptSilos, SiloData, _Source, load_silo
from tasks.datasets.client_assignment import ByColumn
from tasks.datasets.partition import make_partition
from tasks.datasets.partition_reader import open_partition, read_interactions
from tests.conftest import small_tables

PARTS_MADE_WHEN_USED = {"training", "histories", "validation_negatives", "test_negatives", "ratings"}

PARTS: tuple[Part, ...] = ("validation", "test")


def silo(partition_dir: Path, client_id: str = "ash", negatives: int = 20) -> SiloData:
    return load_silo(str(partition_dir), open_partition(partition_dir).digest, client_id, 5, negatives)


def source(name: str) -> _Source:
    return _Source(name, "digest", 5, 20)


def test_a_client_s_data_are_laid_out_once(partition_dir):
    first = silo(partition_dir)
    # A second read of the file would be refused.
    open_partition(partition_dir).client("ash").path.write_bytes(b"")
    assert silo(partition_dir) is first


def test_training_makes_neither_negatives_nor_histories_nor_ratings(rated_partition_dir):
    data = silo(rated_partition_dir)
    assert len(data.training)
    assert data.__dict__.keys() & PARTS_MADE_WHEN_USED == {"training"}


class Kept:
    """Data kept under a limit, and the names of those that were laid out."""

    def __init__(self, data: SiloData, fitting: int) -> None:
        self._data, self._kept = data, KeptSilos(fitting * data.nbytes)
        self.laid_out: list[str] = []

    def ask(self, job: str, client_ids: str) -> str:
        """Return those of the clients, a letter each, whose data had to be laid out."""
        self.laid_out.clear()
        for client_id in client_ids:
            self._kept.get(source(job), client_id, lambda name=client_id: self._lay_out(name))
        return "".join(self.laid_out)

    def _lay_out(self, client_id: str) -> SiloData:
        self.laid_out.append(client_id)
        return self._data


def test_of_more_clients_than_fit_the_first_stay(partition_dir):
    kept = Kept(silo(partition_dir), fitting=3)
    assert kept.ask("job", "abcde") == "abcde"
    assert kept.ask("job", "abcde") == "de"
    assert kept.ask("job", "edcba") == "ed"


def test_another_job_s_data_give_way(partition_dir):
    kept = Kept(silo(partition_dir), fitting=3)
    assert kept.ask("job", "ab") == "ab"
    assert kept.ask("next", "ab") == "ab"
    assert kept.ask("next", "ab") == ""
    assert kept.ask("job", "ab") == "ab"


def test_data_larger_than_the_limit_are_used_without_being_kept(partition_dir):
    kept = Kept(silo(partition_dir), fitting=0)
    assert kept.ask("job", "aa") == "aa"


def test_the_estimate_of_bytes_covers_the_arrays(rated_partition_dir):
    data = silo(rated_partition_dir, negatives=99)
    split, training = data.split, data.training
    arrays = [
        *vars(split).values(),
        training.users,
        training.items,
        training.positives.data,
        training.positives.indices,
        training.positives.indptr,
        data.histories.items,
        data.histories.starts,
        data.validation_negatives,
        data.test_negatives,
        data.rating_values,
    ]
    assert sum(array.nbytes for array in arrays) <= data.nbytes


def test_rows_are_those_of_the_file_in_its_order(rated_partition_dir):
    partition = open_partition(rated_partition_dir)
    frame = read_interactions(partition.client("birch"))
    rows = client_rows(partition, "birch")
    assert list(rows.user_ids) == sorted(set(frame["user_id"]))
    assert [rows.user_ids[row] for row in rows.users] == list(frame["user_id"])
    assert [partition.catalog.ids[row] for row in rows.items] == list(frame["item_id"])
    assert (rows.users.dtype, rows.items.dtype) == (np.int32, np.int32)
    assert (rows.times.dtype, rows.ratings.dtype) == (np.int64, np.float64)
    assert rows.times.tolist() == list(frame["timestamp"])
    assert rows.ratings.tolist() == list(frame["rating"])


def test_a_share_of_the_users_is_evaluated_as_among_all_users(partition_dir):
    digest = open_partition(partition_dir).digest
    every = silo(partition_dir)
    some = load_silo(str(partition_dir), digest, "ash", 5, 20, users_share=0.5)
    scores = np.random.default_rng(1).normal(size=(len(every.user_ids), every.n_items))
    evaluated = sampled_users(every.user_ids, 0.5, 5)
    assert 0 < evaluated.sum() < len(evaluated)
    for part in PARTS:
        all_cases, cases = (each.ranks(lambda users: scores[users], part) for each in (every, some))
        chosen = evaluated[every.split.test_users]
        assert cases.full.tolist() == all_cases.full[chosen].tolist()
        assert cases.sampled.tolist() == all_cases.sampled[chosen].tolist()
    assert some.split.train_items.tolist() == every.split.train_items.tolist()


@pytest.mark.parametrize("timed", [True, False])
def test_by_id_one_user_less_changes_nothing_of_the_others(tmp_path: Path, timed: bool) -> None:
    """What a job with noise adds up differs by the one user alone, so by a length of at most 1."""

    def without(left_out: str) -> SiloData:
        paths = small_tables(tmp_path / f"tables{left_out}", users=60, items=200)
        table = pd.read_csv(paths["interactions"])
        table = table[table.user_id != left_out]
        (table if timed else table.drop(columns="timestamp")).to_csv(paths["interactions"], index=False)
        out = tmp_path / f"partition{left_out}"
        make_partition(
            paths["interactions"], out, ByColumn("town"), items=paths["items"], users=paths["users"]
        )
        return load_silo(str(out), open_partition(out).digest, "ash", 5, 20, by_id=True)

    every, fewer = without(""), without("u000")
    assert every.user_ids[1:] == fewer.user_ids
    for one, other in zip(list(every.histories)[1:], fewer.histories, strict=True):
        assert np.array_equal(one, other)
    for part in ("validation_negatives", "test_negatives"):
        assert np.array_equal(getattr(every, part)[1:], getattr(fewer, part))
    sums = [popularity_sums(each.histories).popularity.astype(np.float64) for each in (every, fewer)]
    assert 0.0 < np.linalg.norm(sums[0] - sums[1]) <= 1.0


def test_a_version_with_privacy_is_evaluated_on_what_its_job_held_out(tmp_path: Path) -> None:
    paths = small_tables(tmp_path / "tables", users=60, items=200)
    pd.read_csv(paths["interactions"]).drop(columns="timestamp").to_csv(paths["interactions"], index=False)
    out = tmp_path / "partition"
    make_partition(paths["interactions"], out, ByColumn("town"), items=paths["items"], users=paths["users"])
    partition = open_partition(out)
    for by_id in (True, False):
        of_job = load_silo(str(out), partition.digest, "ash", 5, 20, by_id=by_id)
        (held, *_) = clients_of(partition, LEAVE_ONE_OUT, "test", seed=5, negatives=20, by_id=by_id)
        assert np.array_equal(held.held_out.items, of_job.split.test_items)
        assert np.array_equal(held.held_out.negatives, of_job.test_negatives)
    assert not np.array_equal(
        clients_of(partition, LEAVE_ONE_OUT, "test", seed=5, by_id=True)[0].held_out.items,
        clients_of(partition, LEAVE_ONE_OUT, "test", seed=5)[0].held_out.items,
    )
