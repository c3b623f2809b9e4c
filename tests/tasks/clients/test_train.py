"""A client's local training: repeatable, restartable, and sending nothing but its update."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.errors import CorruptArtifact
from models.federation.model import GlobalModel
from models.kernel.metric import Metric
from models.kernel.packed import whole
from models.kernel.ranges import Range
from models.privacy.noise_plan import NoisePlan
from models.recommenders.lightfm.merge_rules import merge_rule
from models.recommenders.lightfm.spec import LightFMSpec
from models.recommenders.lightfm.training import initial_items, initial_users, train_round
from tasks.clients.client_data import UserStates, base_of, data_of, residual_of
from tasks.clients.train import train_client
from tasks.datasets.partition_reader import open_partition
from tasks.exchange.codec import decode, decode_update, encode_model
from tasks.exchange.store import ArtifactRef
from tasks.messages.orders import ClientOrder, JobContext, StartingPoint
from tests.worlds.jobs import job_of

SPEC = LightFMSpec(dims=4)


@pytest.fixture
def job(tmp_path: Path, partition_dir: Path) -> JobContext:
    return job_of(partition_dir, tmp_path, spec=SPEC)


def stored_base(job: JobContext, round_: int = 0) -> ArtifactRef:
    catalog = open_partition(job.data_dir).catalog
    model = GlobalModel(round_, catalog.digest, initial_items(len(catalog), SPEC.dims, 100 + round_))
    return job.exchange.put(f"{job.job_id}/models", encode_model(model))


def order_of(job: JobContext, round_: int = 1, start: StartingPoint | None = None, **changes: object):
    order = ClientOrder(job, "ash", round_, stored_base(job, round_ - 1), start or StartingPoint(None, 0))
    return replace(order, **changes)


def test_with_noise_a_user_s_split_depends_on_no_other_user(job):
    assert not data_of(order_of(job)).by_id
    assert data_of(order_of(replace(job, noise=NoisePlan(2.0, summands=2)))).by_id


def test_the_update_is_what_training_and_the_merge_rule_make_of_the_silo_s_data(job):
    order = order_of(job)
    delivery = train_client(order)
    update = decode_update(job.exchange.get(delivery.update))
    data, base = data_of(order), base_of(order)
    users = initial_users(8, SPEC.dims, 7, "ash")
    items, trained_users = train_round(
        base.items, users, data.training, SPEC, seed=7, round_=1, client_id="ash"
    )
    expected = merge_rule("adagrad_sum").prepare(base.items, items)
    # Nearest among the public steps: 16 bits up to 8, 16 bits up to 64, and 1/4096.
    steps = dict(zip(expected.names(), (2.0**-12, 2.0**-9, 2.0**-12, 2.0**-12), strict=True))
    for (name, got), (_, want) in zip(update.contribution.arrays.named(), expected.named(), strict=True):
        assert np.array_equal(got, np.round(want / steps[name]) * steps[name]), name
    assert np.abs(update.contribution.arrays.embeddings).max() > 0
    assert (update.client_id, update.base_round, update.contribution.interactions) == ("ash", 0, 64)
    values = 40 * (4 + 1 + 1 + 1)
    assert update.contribution.metrics == {"users": Metric(8.0, 1.0), "clipped": Metric(0.0, values)}
    assert (update.base_digest, update.catalog_digest) == (order.base.sha256, base.catalog_digest)
    assert delivery.client_id == "ash"
    assert delivery.started < delivery.ended
    assert delivery.lightfm_s > 0
    kept, ids = UserStates(order.silo, "job-1").read(1)
    assert np.array_equal(kept.embeddings, trained_users.embeddings)
    assert ids == data.user_ids


def test_the_same_order_twice_gives_the_same_bytes(job, tmp_path):
    first = train_client(order_of(job))
    assert train_client(order_of(job)).update == first.update
    elsewhere = replace(job, silos_dir=str(tmp_path / "other-silos"))
    assert train_client(order_of(elsewhere)).update == first.update
    assert train_client(order_of(replace(job, seed=8))).update != first.update


def test_a_restarted_client_ignores_the_state_of_a_round_that_was_not_committed(job):
    train_client(order_of(job))
    second = order_of(job, 2, StartingPoint("job-1", 1))
    before = train_client(second)
    path = second.silo / "state" / "job-1" / "round-000002.safetensors"
    state = path.read_bytes()
    # The round is not committed, so it is ordered again from the same starting point.
    assert train_client(second).update == before.update
    assert path.read_bytes() == state
    path.write_bytes(b"written only in part")
    assert train_client(second).update == before.update
    assert path.read_bytes() == state
    # From another state the same round gives another update.
    assert train_client(replace(second, start=StartingPoint(None, 0))).update != before.update


def test_states_that_no_restart_can_need_are_deleted(job):
    starts = [StartingPoint(None, 0), StartingPoint("job-1", 1), StartingPoint("job-1", 2)]
    for round_, start in enumerate(starts, start=1):
        train_client(order_of(job, round_, start))
    left = sorted(path.name for path in (Path(job.silos_dir) / "ash" / "state" / "job-1").iterdir())
    assert left == ["round-000002.safetensors", "round-000003.safetensors"]


def test_only_the_update_leaves_the_silo(job, tmp_path):
    order = order_of(job)
    delivery = train_client(order)
    names = {path.name for path in (tmp_path / "exchange").rglob("*") if path.is_file()}
    assert names == {Path(ref.path).name for ref in (order.base, delivery.update)}
    data = job.exchange.get(delivery.update)
    assert hashlib.sha256(data).hexdigest() == delivery.update.sha256
    arrays, facts = decode(data, "")
    # 40 items and never 8 users, and no user's id among the facts.
    assert {array.shape for array in arrays.values()} == {(40, 4), (40,)}
    assert not any(user_id.encode() in data for user_id in data_of(order).user_ids)
    assert set(facts["metrics"]) == {"users", "clipped"}


def test_the_job_s_ranges_replace_those_of_the_family(job):
    narrow = Range(-3, 3, 2.0**-6)
    usual, update = (
        decode_update(job.exchange.get(train_client(order_of(each)).update)).contribution
        for each in (job, replace(job, ranges={"embeddings": narrow}))
    )
    found, expected = update.arrays.embeddings, usual.arrays.embeddings
    assert update.ranges == {**usual.ranges, "embeddings": narrow}
    assert set(np.unique(found * 64)) <= {-3, -2, -1, 0, 1, 2, 3}
    outside = int((np.abs(np.round(expected * 64)) > 3).sum())
    assert outside > 0
    assert update.metrics["clipped"] == Metric(outside, 40 * 7)
    assert np.array_equal(update.arrays.biases, usual.arrays.biases)


def test_small_updates_send_later_what_they_leave_out(job):
    small = replace(job, spec=LightFMSpec(dims=4, sent_rows=0.25, sent_bits=8))
    first = order_of(small)
    sent = decode_update(job.exchange.get(train_client(first).update)).contribution.arrays
    assert sent.rows["biases"].numbers.size == 10
    residual = UserStates(first.silo, "job-1").residual(1)
    # The whole update and what is left of it after the first one differ by what was sent.
    unrounded = merge_rule("adagrad_sum").prepare(base_of(first).items, trained_items(first))
    for name, array in whole(sent).named():
        left = getattr(unrounded, name) - array
        assert np.array_equal(getattr(residual, name), left), name
    second = order_of(small, 2, StartingPoint("job-1", 1))
    with_rest = train_client(second)
    # A client whose first update was refused starts again without a residual.
    alone = train_client(replace(second, start=StartingPoint(None, 0)))
    assert with_rest.update != alone.update
    assert np.abs(UserStates(first.silo, "job-1").residual(2).embeddings).max() > 0


def test_a_longer_job_has_the_residual_of_the_one_that_it_continues(job):
    small = replace(job, spec=LightFMSpec(dims=4, sent_rows=0.25))
    train_client(order_of(small))
    own = residual_of(order_of(small, 2, StartingPoint("job-1", 1)))
    longer = replace(small, job_id="job-2")
    continued = residual_of(order_of(longer, 2, StartingPoint("job-1", 1)))
    for (name, left), (_, expected) in zip(continued.named(), own.named(), strict=True):
        assert np.array_equal(left, expected), name
    # A job that starts from the model of an earlier one is another training.
    assert residual_of(order_of(longer, 1, StartingPoint("job-1", 1, exact=False))) is None


def trained_items(order: ClientOrder):
    data, base = data_of(order), base_of(order)
    users = initial_users(8, SPEC.dims, 7, "ash")
    return train_round(base.items, users, data.training, SPEC, seed=7, round_=1, client_id="ash")[0]


def test_a_missing_state_fails_the_client_and_leaves_no_update(job, tmp_path):
    order = order_of(job, 2, StartingPoint("job-1", 1))
    with pytest.raises(CorruptArtifact, match="of round 1 are missing"):
        train_client(order)
    assert not (tmp_path / "exchange" / "job-1" / "updates").exists()


def test_changed_data_and_a_damaged_model_fail_the_client(job, tmp_path):
    order = order_of(job)
    path = tmp_path / "exchange" / order.base.path
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptArtifact, match="expected"):
        train_client(order)
    with pytest.raises(CorruptArtifact, match="the job was opened with"):
        train_client(order_of(replace(job, data_digest="0" * 64)))
