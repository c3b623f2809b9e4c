"""Merging a round: a bad update costs its client the round and changes nothing for the others."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from data_contracts.updates import UpdateLimits
from models.errors import QuorumNotReached
from models.federation.contribution import Contribution
from models.federation.model import ClientUpdate, GlobalModel, ItemArrays
from models.federation.rounds import Rejection, RoundPlan
from models.kernel.metric import Metric
from models.kernel.packed import whole, with_rows
from models.kernel.ranges import Range
from models.privacy.noise_plan import NoisePlan
from models.recommenders.lightfm.merge_rules import merge_rule
from models.recommenders.lightfm.spec import LightFMSpec
from models.recommenders.lightfm.training import initial_items
from tasks.coordinator.merge_round import Merged, merge_round
from tasks.coordinator.update_intake import HELD_CLIENTS
from tasks.exchange.codec import decode, decode_model, encode, encode_model, encode_update
from tasks.exchange.store import ArtifactRef, Exchange
from tasks.messages.answers import Delivery
from tasks.messages.orders import JobContext

CLIENTS = ("ash", "birch", "cedar", "elm")
SHAPE = (5, 2)


@dataclass
class World:
    """A base model of round 3 in an exchange, and four clients with an update each."""

    job: JobContext
    base: GlobalModel
    base_ref: ArtifactRef
    files: Path

    def update(self, client_id: str, rule: str = "adagrad_sum") -> ClientUpdate:
        random = np.random.default_rng(CLIENTS.index(client_id))

        def moved(array: np.ndarray) -> np.ndarray:
            return random.uniform(0.1, 1.0, array.shape).astype(np.float32)

        number = CLIENTS.index(client_id)
        by_hand = merge_rule(rule)
        contribution = by_hand.contribution(
            self.base.items.map(moved), 10 + number, {"users": Metric(2.0 + number, 1.0)}
        )
        contribution = by_hand.rounded(contribution)
        return ClientUpdate(client_id, 3, self.base_ref.sha256, "cat", contribution)

    def delivery(self, client_id: str, data: bytes | None = None, rule: str = "adagrad_sum") -> Delivery:
        data = encode_update(self.update(client_id, rule)) if data is None else data
        return Delivery(client_id, self.job.exchange.put(f"job-1/updates/4/{client_id}", data), 0.0, 1.0, 0.5)

    def merge(
        self, deliveries, *, quorum: int = 1, missing=(), rule="adagrad_sum", reported=None, **limits
    ) -> Merged:
        plan = RoundPlan(round=4, seed=7, cohort=CLIENTS, quorum=quorum)
        return merge_round.fn(
            self.job,
            plan,
            merge_rule(rule),
            self.base_ref,
            deliveries,
            missing,
            UpdateLimits(**{"max_norm": 5.0} | limits),
            reported or {},
        )

    def merge_of(self, *clients: str, rule: str = "adagrad_sum") -> str:
        """Return the SHA-256 of a merge of these clients' updates, made without tasks and contracts."""
        by_hand = merge_rule(rule)
        state = by_hand.empty(self.base)
        for client_id in clients:
            state = by_hand.add(state, self.base, self.update(client_id, rule))
        return hashlib.sha256(encode_model(by_hand.finish(state, self.base))).hexdigest()


@pytest.fixture
def world(tmp_path: Path) -> World:
    url = (tmp_path / "exchange").as_uri()
    job = JobContext("job-1", 7, LightFMSpec(), url, "data", "d" * 64, "silos", 5, 20)
    base = GlobalModel(3, "cat", initial_items(*SHAPE, 1))
    return World(job, base, job.exchange.put("job-1/models", encode_model(base)), tmp_path / "exchange")


def test_all_updates_make_the_next_model(world):
    merged = world.merge([world.delivery(client_id) for client_id in CLIENTS])
    assert merged.model.sha256 == world.merge_of(*CLIENTS)
    model = decode_model(world.job.exchange.get(merged.model))
    assert (model.round, model.catalog_digest) == (4, "cat")
    assert (merged.accepted, merged.rejected) == (CLIENTS, ())
    assert merged.outcome.passed
    assert merged.training == training(users=2 + 3 + 4 + 5, clients=4)
    assert merged.update_bytes == sum(len(encode_update(world.update(each))) for each in CLIENTS)
    moved = np.linalg.norm(model.items.embeddings.astype(float) - world.base.items.embeddings)
    assert merged.drift == pytest.approx(moved / np.linalg.norm(world.base.items.embeddings), rel=1e-5)


@pytest.mark.parametrize("rule", ["adagrad_sum", "weighted_mean"])
def test_the_shares_of_clients_in_a_merge_add_up_to_one(world, rule):
    bad = encode_update(spoilt(world.update("birch"), "embeddings", np.nan))
    deliveries = [world.delivery(name, rule=rule) for name in ("cedar", "ash")]
    merged = world.merge([*deliveries, world.delivery("birch", bad)], rule=rule)
    assert list(merged.client_drift) == ["ash", "cedar"]
    parts = [each.norm * each.cosine for each in merged.client_drift.values()]
    assert sum(parts) == pytest.approx(1.0)
    assert all(0.5 < each.cosine < 1.0 for each in merged.client_drift.values())  # all values are positive


def test_drift_of_single_updates_with_a_share_of_the_noise_is_not_told(world):
    deliveries = [world.delivery(name) for name in ("cedar", "ash")]
    world.job = replace(world.job, noise=NoisePlan(2.0, summands=2))
    merged = world.merge(deliveries)
    assert (merged.accepted, merged.client_drift) == (("ash", "cedar"), {})
    assert merged.drift > 0.0


def test_nothing_of_a_refused_update_with_a_share_of_the_noise_is_told(world):
    deliveries = [world.delivery(name) for name in ("cedar", "ash")]
    told, untold = (
        world.merge(deliveries, quorum=0, min_interactions=11)
        for world.job in (world.job, replace(world.job, noise=NoisePlan(2.0, summands=2)))
    )
    reason = "The update breaks its contract, which requires an interaction count of at least 11"
    assert told.rejected == (Rejection("ash", "update", f"{reason} (got 10)."),)
    assert untold.rejected == (Rejection("ash", "update", f"{reason}."),)
    assert (untold.accepted, untold.outcome.result) == (("cedar",), {})
    (breach,) = untold.outcome.breaches
    assert (breach.keys, breach.observed) == (("ash",), "1 updates in breach")


def test_drift_is_not_measured_for_very_many_clients(world):
    update = world.update("ash")
    deliveries = [
        Delivery(name, world.job.exchange.put(f"job-1/updates/4/{name}", data), 0.0, 1.0, 0.5)
        for name in (f"user-{number:03d}" for number in range(HELD_CLIENTS + 1))
        for data in [encode_update(replace(update, client_id=name))]
    ]
    assert len(world.merge(deliveries[:-1]).client_drift) == HELD_CLIENTS
    merged = world.merge(deliveries)
    assert len(merged.accepted) == HELD_CLIENTS + 1
    assert merged.client_drift == {}


@pytest.mark.parametrize("rule", ["sum", "weighted_mean"])
def test_the_order_of_deliveries_is_irrelevant(world, rule):
    deliveries = [world.delivery(client_id, rule=rule) for client_id in CLIENTS]
    expected = world.merge_of(*CLIENTS, rule=rule)
    for order in ([3, 1, 0, 2], [2, 3, 1, 0]):
        assert world.merge([deliveries[i] for i in order], rule=rule).model.sha256 == expected


def training(*, users: float, clients: int) -> dict[str, Metric]:
    """Return the metrics of these clients, of whose values none was clipped."""
    values = SHAPE[0] * (SHAPE[1] + 3)
    return {"users": Metric(users, clients), "clipped": Metric(0.0, clients * values)}


def with_contribution(update: ClientUpdate, **changes: object) -> ClientUpdate:
    return replace(update, contribution=replace(update.contribution, **changes))


def re_rounded(update: ClientUpdate, arrays: ItemArrays) -> ClientUpdate:
    """Return an update with these arrays, rounded as every honest client does."""
    contribution = Contribution(arrays, interactions=update.contribution.interactions)
    return replace(update, contribution=merge_rule("adagrad_sum").rounded(contribution))


def spoilt(update: ClientUpdate, name: str, value: float) -> ClientUpdate:
    """Return an update of floats, one of which has this value."""
    arrays = {each: array.copy() for each, array in update.contribution.arrays.named()}
    arrays[name].flat[0] = value
    return with_contribution(update, arrays=ItemArrays(**arrays), ranges={})


def long_step(update: ClientUpdate) -> ClientUpdate:
    """Return an update with an embedding at the end of its range, so that its norm is above the limit."""
    return re_rounded(update, spoilt(update, "embeddings", 7.5).contribution.arrays)


def with_steps(update: ClientUpdate, name: str, steps: int, dtype: str) -> bytes:
    """Return the bytes of an update with one value of this number of steps, in an array of this type."""
    arrays, facts = decode(encode_update(update), "")
    arrays[name] = arrays[name].astype(dtype)
    arrays[name].flat[0] = steps
    return encode(arrays, facts)


def of_ranges(update: ClientUpdate, **changes: Range) -> ClientUpdate:
    """Return an update rounded to other ranges than the job's."""
    contribution = Contribution(update.contribution.arrays, interactions=update.contribution.interactions)
    return replace(update, contribution=merge_rule("adagrad_sum").rounded(contribution, changes))


def wider(update: ClientUpdate) -> ClientUpdate:
    return re_rounded(update, initial_items(SHAPE[0], SHAPE[1] + 1, 1))


def longer(update: ClientUpdate) -> ClientUpdate:
    return re_rounded(update, initial_items(SHAPE[0] + 1, SHAPE[1], 1))


def doubled(update: ClientUpdate) -> ClientUpdate:
    arrays = update.contribution.arrays.map(lambda array: array.astype(np.float64))
    return with_contribution(update, arrays=arrays, ranges={})


def few_items(update: ClientUpdate, size: int = SHAPE[0], **spoil: float) -> ClientUpdate:
    """Return an update of items 0 and 2 of `size` items, with these values spoilt."""
    arrays = ItemArrays(
        *(np.ones((2, *array.shape[1:]), np.float32) for _, array in initial_items(*SHAPE, 1).named())
    )
    for name, value in spoil.items():
        array = getattr(arrays, name)
        array.flags.writeable = True
        array.flat[0] = value
    kept = with_rows(arrays, np.array([0, 2], np.int32), size)
    return with_contribution(update, arrays=kept, ranges={} if spoil else update.contribution.ranges)


# What birch delivers instead of its update, and what the reason of its rejection must mention.
BAD_UPDATES: dict[str, tuple[Callable[[ClientUpdate], bytes], str]] = {
    "NaN embedding": (lambda u: encode_update(spoilt(u, "embeddings", np.nan)), "finite"),
    "infinite bias": (lambda u: encode_update(spoilt(u, "biases", np.inf)), "finite"),
    "NaN accumulator": (lambda u: encode_update(spoilt(u, "bias_accumulators", np.nan)), "finite"),
    "shrunk accumulator": (lambda u: encode_update(spoilt(u, "embedding_accumulators", -1)), "shrink"),
    "far too large": (lambda u: encode_update(spoilt(u, "embeddings", 1e9)), "norm"),
    "too large": (lambda u: encode_update(long_step(u)), "norm between 0 and 5 (got 7."),
    "unrounded": (
        lambda u: encode_update(with_contribution(u, ranges={})),
        "requires values in the steps of the job's ranges.",
    ),
    "of one range only": (
        lambda u: encode_update(with_contribution(u, ranges={"biases": u.contribution.ranges["biases"]})),
        "requires values in the steps of the job's ranges.",
    ),
    "of other steps": (
        lambda u: encode_update(of_ranges(u, embeddings=Range.symmetric(4.0, 16))),
        "requires values in the steps of the job's ranges.",
    ),
    "of a wider range": (
        lambda u: encode_update(of_ranges(u, embeddings=Range(-(2**31), 2**31, 2.0**-12))),
        "requires values in the steps of the job's ranges.",
    ),
    "beyond its range": (
        lambda u: with_steps(u, "bias_accumulators", 2**25, "int32"),
        "a value is not one of 0 to 33554431 steps",
    ),
    "a negative count": (
        lambda u: with_steps(u, "embedding_accumulators", -1, "int32"),
        "a value is not one of 0 to 33554431 steps",
    ),
    "of wider integers": (lambda u: with_steps(u, "embeddings", 2**15, "int64"), "int64, expected int16"),
    "of bits": (lambda u: with_steps(u, "biases", 1, "bool"), "bool, expected int16"),
    "of floats of steps": (lambda u: with_steps(u, "biases", 1, "float32"), "float32, expected int16"),
    "other dims": (lambda u: encode_update(wider(u)), "shape"),
    "other items": (lambda u: encode_update(longer(u)), "shape"),
    "float64": (lambda u: encode_update(doubled(u)), "float32"),
    "stale": (lambda u: encode_update(replace(u, base_round=2)), "base round 3"),
    "of another model": (lambda u: encode_update(replace(u, base_digest="0" * 64)), "base model"),
    "of another catalogue": (lambda u: encode_update(replace(u, catalog_digest="dog")), "catalogue cat"),
    "without interactions": (lambda u: encode_update(with_contribution(u, interactions=0)), "interaction"),
    "of a weight of its own": (lambda u: encode_update(with_contribution(u, weight=1e9)), "weight"),
    "another's": (lambda u: encode_update(replace(u, client_id="cedar")), "names client 'cedar'"),
    "a model": (
        lambda u: encode_model(GlobalModel(3, "cat", u.contribution.arrays)),
        "expected a 'client_update'",
    ),
    "NaN among few items": (lambda u: encode_update(few_items(u, biases=np.nan)), "finite"),
    "shrunk among few items": (lambda u: encode_update(few_items(u, bias_accumulators=-1)), "shrink"),
    "too large among few items": (lambda u: encode_update(few_items(u, embeddings=1e9)), "norm"),
    "few of other items": (lambda u: encode_update(few_items(u, 2**40)), "shape"),
    "no arrays": (lambda u: encode({}, {"kind": "client_update"}), "lacks a part"),
    "garbage": (lambda u: b"garbage", "is not a fedrec safetensors file"),
    "nothing": (lambda u: b"", "is not a fedrec safetensors file"),
}


@pytest.mark.parametrize("fault", BAD_UPDATES)
def test_a_bad_update_is_rejected_with_its_reason_and_the_others_merge_as_without_it(world, fault):
    spoil, reason = BAD_UPDATES[fault]
    data = spoil(world.update("birch"))
    deliveries = [world.delivery(each, data if each == "birch" else None) for each in CLIENTS]
    merged = world.merge(deliveries, quorum=3)
    assert merged.model.sha256 == world.merge_of("ash", "cedar", "elm")
    assert merged.accepted == ("ash", "cedar", "elm")
    assert [(each.client_id, each.stage) for each in merged.rejected] == [("birch", "update")]
    assert reason in merged.rejected[0].reason
    assert merged.training == training(users=2 + 4 + 5, clients=3)


def test_the_job_s_ranges_replace_those_of_the_rule(world):
    """An update in the steps of the rule's own ranges is refused then."""
    coarse = {"embeddings": Range(-20, 20, 0.25)}
    world.job = replace(world.job, ranges=coarse)
    updates = {each: of_ranges(world.update(each), **coarse) for each in ("ash", "cedar")}
    deliveries = [world.delivery("birch"), *(world.delivery(*each) for each in encoded(updates))]
    merged = world.merge(deliveries)
    assert merged.accepted == ("ash", "cedar")
    assert "requires values in the steps of the job's ranges." in merged.rejected[0].reason


def encoded(updates: dict[str, ClientUpdate]) -> list[tuple[str, bytes]]:
    return [(name, encode_update(update)) for name, update in updates.items()]


def test_an_update_of_few_items_merges_as_the_whole_one(world):
    few = few_items(world.update("birch"))
    full = with_contribution(few, arrays=whole(few.contribution.arrays))
    models = []
    for update in (few, full):
        data = encode_update(update)
        merged = world.merge([world.delivery(each, data if each == "birch" else None) for each in CLIENTS])
        assert merged.accepted == CLIENTS
        models.append(merged)
    assert models[0].model == models[1].model
    drift = [each.client_drift["birch"] for each in models]
    assert (drift[0].norm, drift[0].cosine) == pytest.approx((drift[1].norm, drift[1].cosine))


@pytest.mark.parametrize(("claimed", "is_rejected"), [(10**9, True), (12, True), (11, False)])
def test_a_client_s_weight_is_that_of_the_interactions_it_reported(world, claimed, is_rejected):
    """By weighted_mean, birch would dominate the mean by claiming more interactions than its data had."""
    rule = merge_rule("weighted_mean")
    honest = world.update("birch", "weighted_mean").contribution
    arrays = world.base.items.map(lambda array: np.full_like(array, 0.5))
    contribution = rule.rounded(rule.contribution(arrays, claimed, honest.metrics))
    data = encode_update(replace(world.update("birch", "weighted_mean"), contribution=contribution))
    deliveries = [
        world.delivery(each, data if each == "birch" else None, "weighted_mean") for each in CLIENTS
    ]
    reported = {"ash": 10, "birch": 11, "cedar": 12, "elm": 13}
    merged = world.merge(deliveries, rule="weighted_mean", reported=reported)
    assert [each.client_id for each in merged.rejected] == (["birch"] if is_rejected else [])
    if is_rejected:
        assert (
            "no more interactions than the client had when its data were checked" in merged.rejected[0].reason
        )
        assert merged.model.sha256 == world.merge_of("ash", "cedar", "elm", rule="weighted_mean")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: bytes([*data[:-1], data[-1] ^ 1]), "has SHA-256"),
        (lambda data: data[: len(data) // 2], "expected"),
        (None, "missing from the exchange"),
    ],
    ids=["bit flipped", "truncated", "missing"],
)
def test_an_update_damaged_in_the_exchange_is_rejected(world, damage, reason):
    deliveries = [world.delivery(client_id) for client_id in CLIENTS]
    path = world.files / deliveries[1].update.path
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    merged = world.merge(deliveries)
    assert merged.model.sha256 == world.merge_of("ash", "cedar", "elm")
    assert [each.client_id for each in merged.rejected] == ["birch"]
    assert reason in merged.rejected[0].reason


def test_several_bad_and_missing_clients_are_distinguished(world):
    missing = [Rejection("elm", "deadline", "no answer in 60 s")]
    bad = encode_update(spoilt(world.update("birch"), "embeddings", np.nan))
    merged = world.merge(
        [world.delivery("cedar", b""), world.delivery("birch", bad), world.delivery("ash")], missing=missing
    )
    assert merged.model.sha256 == world.merge_of("ash")
    reported = [(each.client_id, each.stage) for each in merged.rejected]
    assert reported == [("birch", "update"), ("cedar", "update"), ("elm", "deadline")]


def test_a_client_that_delivers_twice_is_counted_once(world):
    deliveries = [world.delivery(each) for each in ("ash", "birch", "birch", "cedar")]
    merged = world.merge(deliveries)
    assert merged.accepted == ("ash", "cedar")
    assert merged.model.sha256 == world.merge_of("ash", "cedar")


@pytest.mark.parametrize("fault", ["NaN embedding", "garbage"])
def test_too_few_good_updates_miss_the_quorum_and_store_no_model(world, fault):
    data = BAD_UPDATES[fault][0](world.update("birch"))
    deliveries = [world.delivery("ash"), world.delivery("birch", data)]
    before = {path.name for path in (world.files / "job-1" / "models").iterdir()}
    missing = [Rejection(each, "training", "no such file") for each in ("cedar", "elm")]
    with pytest.raises(QuorumNotReached) as caught:
        world.merge(deliveries, quorum=2, missing=missing)
    assert (caught.value.round, caught.value.quorum, caught.value.accepted) == (4, 2, ["ash"])
    assert {each.client_id for each in caught.value.rejected} == {"birch", "cedar", "elm"}
    assert {path.name for path in (world.files / "job-1" / "models").iterdir()} == before
    # With the quorum met the same deliveries merge.
    assert world.merge(deliveries, quorum=1, missing=missing).accepted == ("ash",)


def test_without_deliveries_any_quorum_is_missed(world):
    with pytest.raises(QuorumNotReached, match="0 usable updates from 4 selected clients"):
        world.merge([])


def test_the_limits_of_the_configuration_apply(world):
    merged = world.merge([world.delivery(each) for each in CLIENTS], min_interactions=12)
    assert merged.accepted == ("cedar", "elm")


class CountingExchange(Exchange):
    """An exchange that counts by client how often an update is read."""

    def __init__(self, url: str, reads: Counter[str]) -> None:
        super().__init__(url)
        self.reads = reads

    def get(self, ref: ArtifactRef) -> bytes:
        *folders, client_id, _ = ref.path.split("/")
        self.reads[client_id] += "updates" in folders
        return super().get(ref)


@dataclass(frozen=True)
class CountingJob(JobContext):
    """A job whose reads of updates are counted."""

    reads: Counter[str] = field(default_factory=Counter)

    @property
    def exchange(self) -> Exchange:
        return CountingExchange(self.exchange_url, self.reads)


def counted(world: World) -> Counter[str]:
    """Return how often a merge after this call reads each client's update."""
    world.job = CountingJob(**vars(world.job))
    return world.job.reads


def test_each_update_is_read_once(world):
    bad = encode_update(spoilt(world.update("birch"), "embeddings", 1e9))
    deliveries = [world.delivery(each, bad if each == "birch" else None) for each in CLIENTS]
    reads = counted(world)
    assert world.merge(deliveries).accepted == ("ash", "cedar", "elm")
    assert +reads == dict.fromkeys(CLIENTS, 1)


@pytest.fixture(params=["clients", "bytes"])
def beyond_the_bound(request, world, monkeypatch) -> World:
    """Return a world in which three updates are more than are held in memory."""
    name, size = ("HELD_CLIENTS", 2) if request.param == "clients" else ("HELD_BYTES", 2000)
    monkeypatch.setattr(f"tasks.coordinator.update_intake.{name}", size)
    assert len(encode_update(world.update("ash"))) * 3 > 2000
    return world


@pytest.mark.parametrize("fault", ["NaN embedding", "other dims", "stale", "garbage", None])
def test_beyond_the_bound_updates_are_added_while_they_are_read(beyond_the_bound, fault):
    world = beyond_the_bound
    data = None if fault is None else BAD_UPDATES[fault][0](world.update("birch"))
    deliveries = [world.delivery(each, data if each == "birch" else None) for each in CLIENTS]
    reads = counted(world)
    merged = world.merge(deliveries)
    assert merged.accepted == (CLIENTS if fault is None else ("ash", "cedar", "elm"))
    assert merged.model.sha256 == world.merge_of(*merged.accepted)
    assert +reads == dict.fromkeys(CLIENTS, 1)
    assert merged.client_drift == {}


@pytest.mark.parametrize("fault", ["too large", "without interactions"])
def test_beyond_the_bound_the_others_are_read_again_if_the_contract_refuses_one(beyond_the_bound, fault):
    world = beyond_the_bound
    data = BAD_UPDATES[fault][0](world.update("birch"))
    deliveries = [world.delivery(each, data if each == "birch" else None) for each in CLIENTS]
    reads = counted(world)
    merged = world.merge(deliveries)
    assert merged.model.sha256 == world.merge_of("ash", "cedar", "elm")
    assert merged.training == training(users=2 + 4 + 5, clients=3)
    assert +reads == {"ash": 2, "birch": 1, "cedar": 2, "elm": 2}


def test_beyond_the_bound_a_client_that_delivers_twice_is_counted_once(beyond_the_bound):
    deliveries = [beyond_the_bound.delivery(each) for each in ("ash", "birch", "birch", "cedar")]
    merged = beyond_the_bound.merge(deliveries)
    assert merged.accepted == ("ash", "cedar")
    assert merged.model.sha256 == beyond_the_bound.merge_of("ash", "cedar")


def test_an_object_larger_than_its_arrays_may_be_is_never_read(world):
    deliveries = [world.delivery("ash"), world.delivery("birch", bytes(1 << 17))]
    reads = counted(world)
    merged = world.merge(deliveries)
    assert "has 131072 bytes, but its arrays have at most 200." in merged.rejected[0].reason
    assert +reads == {"ash": 1}
