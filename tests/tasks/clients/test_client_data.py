"""A client's own data: split without leaks, and user embeddings that survive rounds and crashes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from models.errors import CorruptArtifact, NotFound
from models.recommenders.base.users import UserArrays
from models.recommenders.lightfm.training import initial_users
from tasks.clients.client_data import UserStates, starting_users
from tasks.clients.silo_data import SiloData, load_silo
from tasks.datasets.partition_reader import open_partition, read_interactions
from tasks.exchange.codec import encode
from tasks.messages.orders import StartingPoint

DIMS = 2


def users_of(*rows: float) -> UserArrays:
    column = np.array(rows, dtype=np.float32)
    pairs = np.stack([column, -column], axis=1)
    return UserArrays(pairs, column * 10, pairs * 100, column * 1000)


def assert_same(one: UserArrays, other: UserArrays) -> None:
    for each in fields(UserArrays):
        got, want = getattr(one, each.name), getattr(other, each.name)
        assert got.dtype == want.dtype == np.float32
        assert np.array_equal(got, want)


def silo_of(partition_dir: Path, client_id: str = "ash", **changes: object) -> SiloData:
    digest = str(changes.get("digest", open_partition(partition_dir).digest))
    return load_silo(str(partition_dir), digest, client_id, 5, 20)


def test_a_client_s_data_are_split_without_loss_or_overlap(partition_dir):
    data = silo_of(partition_dir)
    partition = open_partition(partition_dir)
    frame = read_interactions(partition.client("ash"))
    row_of = {user_id: row for row, user_id in enumerate(data.user_ids)}
    held = {
        (row_of[user_id], partition.catalog.ids.index(item_id))
        for user_id, item_id in zip(frame["user_id"], frame["item_id"], strict=True)
    }
    parts = [
        set(zip(getattr(data.split, f"{part}_users"), getattr(data.split, f"{part}_items"), strict=True))
        for part in ("train", "validation", "test")
    ]
    assert list(data.user_ids) == sorted(set(frame["user_id"]))
    assert set.union(*parts) == held
    # Eight users of ten interactions: eight to train on and one each to validate and to test.
    assert [len(part) for part in parts] == [64, 8, 8]
    assert len(data.training) == 64
    assert data.training.shape == (8, len(partition.catalog))
    # The fixture's timestamps follow the rows, so each user's last row is the test case.
    last = frame.groupby("user_id")["item_id"].last()
    expected = {(row_of[user_id], partition.catalog.ids.index(item_id)) for user_id, item_id in last.items()}
    assert parts[2] == expected


def test_negatives_are_items_that_the_user_has_not_used(partition_dir):
    data = silo_of(partition_dir)
    parts = ("train", "validation", "test")
    own = {
        (int(user), int(item))
        for part in parts
        for user, item in zip(
            getattr(data.split, f"{part}_users"), getattr(data.split, f"{part}_items"), strict=True
        )
    }
    for name in ("validation", "test"):
        drawn = getattr(data, f"{name}_negatives")
        assert drawn.shape == (8, 20)
        for user, row in zip(getattr(data.split, f"{name}_users"), drawn.tolist(), strict=True):
            assert len(set(row)) == 20
            assert not own & {(int(user), item) for item in row}
    assert not np.array_equal(data.validation_negatives, data.test_negatives)


def test_a_changed_partition_is_refused(partition_dir):
    with pytest.raises(CorruptArtifact, match="the job was opened with 000000000000"):
        silo_of(partition_dir, digest="0" * 64)


def test_a_changed_file_of_a_client_is_refused(partition_dir):
    path = open_partition(partition_dir).client("birch").path
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptArtifact, match="'birch'"):
        silo_of(partition_dir, "birch")


def test_an_unknown_client_is_not_found(partition_dir):
    with pytest.raises(NotFound, match="'oak'"):
        silo_of(partition_dir, "oak")


def test_states_are_read_back_by_job_and_round(tmp_path):
    one, other = UserStates(tmp_path, "job-1"), UserStates(tmp_path, "job-2")
    one.write(1, users_of(1, 2), ("u1", "u2"))
    one.write(2, users_of(3, 4), ("u1", "u2"))
    other.write(1, users_of(5), ("u1",))
    for states, round_, users, ids in (
        (one, 1, users_of(1, 2), ("u1", "u2")),
        (one, 2, users_of(3, 4), ("u1", "u2")),
        (other, 1, users_of(5), ("u1",)),
    ):
        found, found_ids = UserStates(tmp_path, states._folder.name).read(round_)
        assert_same(found, users)
        assert found_ids == ids


def test_only_states_before_the_starting_round_are_deleted(tmp_path):
    states, other = UserStates(tmp_path, "job-1"), UserStates(tmp_path, "job-2")
    other.write(1, users_of(1), ("u1",))
    for round_ in (7, 8, 9, 10):
        states.write(round_, users_of(round_), ("u1",))
    states.write(11, users_of(11), ("u1",), first=10, kept=(7,))
    for round_ in (8, 9):
        with pytest.raises(CorruptArtifact, match=f"of round {round_} are missing"):
            states.read(round_)
    for round_ in (7, 10, 11):
        assert_same(states.read(round_)[0], users_of(round_))
    other.read(1)


def test_a_smaller_state_in_the_place_of_a_larger_one_is_whole(tmp_path):
    states = UserStates(tmp_path, "job-1")
    states.write(1, users_of(1, 2, 3), ("u1", "u2", "u3"))
    states.write(2, users_of(2), ("u1",), first=2)
    assert_same(states.read(2)[0], users_of(2))
    assert len(list(tmp_path.rglob("*.*"))) == 1


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda data: b"",
    "truncated": lambda data: data[:-1],
    "random": lambda data: b"\1" * len(data),
    "a bit flipped": flipped,
    "another kind": lambda data: encode({}, {"kind": "global_model"}),
    "no arrays": lambda data: encode({}, {"kind": "user_state", "user_ids": ["u1"]}),
    "no users": lambda data: encode(vars(users_of(1)), {"kind": "user_state"}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_refused_with_its_file(tmp_path, damage):
    states = UserStates(tmp_path, "job-1")
    states.write(3, users_of(1, 2), ("u1", "u2"))
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.raises(CorruptArtifact, match=str(path)):
        states.read(3)


def started(tmp_path: Path, partition_dir: Path, known: UserArrays | None, ids: tuple[str, ...] = ()):
    start = StartingPoint(None, 0)
    if known is not None:
        UserStates(tmp_path / "silo", "job-1").write(4, known, ids)
        start = StartingPoint("job-1", 4)
    return starting_users(tmp_path / "silo", start, silo_of(partition_dir).user_ids, eight_new_users)


def eight_new_users() -> UserArrays:
    return initial_users(8, DIMS, 7, "ash")


def test_a_client_that_never_trained_starts_at_random(tmp_path, partition_dir):
    assert_same(started(tmp_path, partition_dir, None), initial_users(8, DIMS, 7, "ash"))


def test_unchanged_users_continue_from_their_state(tmp_path, partition_dir):
    known = users_of(*range(1, 9))
    assert_same(started(tmp_path, partition_dir, known, silo_of(partition_dir).user_ids), known)


def test_users_are_aligned_by_id_when_some_arrive_and_some_leave(tmp_path, partition_dir):
    ids = silo_of(partition_dir).user_ids
    # The earlier state: the last three of today's users in reverse order, around one that has left.
    known = users_of(70, 60, 99, 50)
    found = started(tmp_path, partition_dir, known, (ids[7], ids[6], "left", ids[5]))
    fresh = initial_users(8, DIMS, 7, "ash")
    rows = users_of(50, 60, 70)
    for each in fields(UserArrays):
        got = getattr(found, each.name)
        assert np.array_equal(got[5:], getattr(rows, each.name))
        assert np.array_equal(got[:5], getattr(fresh, each.name)[:5])


def test_equally_many_users_are_still_aligned_by_id(tmp_path, partition_dir):
    ids = silo_of(partition_dir).user_ids
    # One left from the front and one arrived at the end, so every row is another user's.
    found = started(tmp_path, partition_dir, users_of(99, 0, 1, 2, 3, 4, 5, 6), ("left", *ids[:7]))
    assert found.biases[:7].tolist() == [0, 10, 20, 30, 40, 50, 60]
    assert np.array_equal(found.embeddings[7], initial_users(8, DIMS, 7, "ash").embeddings[7])


def test_if_every_user_has_left_all_start_at_random(tmp_path, partition_dir):
    assert_same(started(tmp_path, partition_dir, users_of(1), ("left",)), initial_users(8, DIMS, 7, "ash"))


def test_a_missing_state_is_an_error_and_not_a_fresh_start(tmp_path, partition_dir):
    with pytest.raises(CorruptArtifact, match="of round 4 are missing"):
        starting_users(tmp_path, StartingPoint("job-1", 4), silo_of(partition_dir).user_ids, eight_new_users)


def test_a_later_job_starts_from_the_state_of_an_earlier_one(tmp_path, partition_dir):
    data = silo_of(partition_dir)
    states = UserStates(tmp_path, "job-1")
    for round_, first in ((3, 30), (8, 80)):
        states.write(round_, users_of(*range(first, first + 8)), data.user_ids)

    def from_round(round_: int, job_id: str = "job-1") -> UserArrays:
        start = StartingPoint(job_id, round_, exact=False)
        return starting_users(tmp_path, start, data.user_ids, eight_new_users)

    assert_same(from_round(3), users_of(*range(30, 38)))
    assert_same(from_round(5), users_of(*range(30, 38)))
    assert_same(from_round(6), users_of(*range(80, 88)))
    assert_same(from_round(30), users_of(*range(80, 88)))
    assert_same(from_round(3, job_id="job-0"), initial_users(8, DIMS, 7, "ash"))
