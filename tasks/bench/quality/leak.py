"""Shows how much a leak in published code raises the metrics: demonstrations, not results.

The code of some published federated recommenders draws training negatives from the items outside *all* of a
user's interactions, including the held-out ones. Training therefore never lowers the score of a held-out
item, but lowers those of the items that it is ranked against.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from models.evaluation.bootstrap import interval
from models.evaluation.protocols import LEAVE_ONE_OUT
from models.kernel.histories import Histories
from models.kernel.seeds import generator_for
from models.recommenders.additive.blend import BlendSpec
from models.recommenders.additive.next_item import NextItemSpec
from models.recommenders.base.training_set import TrainingSet
from models.recommenders.lightfm.spec import LightFMSpec
from models.recommenders.lightfm.training import initial_items, initial_users, train_round
from tasks.bench.quality.arms import ItemToItem, Trained
from tasks.bench.quality.cases import BenchClient, Learner, by_client, clients_of, pooled
from tasks.bench.quality.table_rows import Evaluator, Measured
from tasks.datasets.partition_reader import Partition, read_interactions

_SHOWN = ("loo_hr@10", "loo_ndcg@10")
# These publications train with four negatives per positive in each of a hundred rounds.
_DRAWS = 400


def leak_rows(partition: Partition, epochs: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield rows with the model, variant, metric, value, low and high, on leave-one-out's test cases.

    Args:
        partition: the data; its interactions need timestamps.
        epochs: of LightFM (BPR), once with negatives outside training and once outside all interactions.
        seed: of everything random.
    """
    clients = clients_of(partition, LEAVE_ONE_OUT, "test")
    evaluator = Evaluator(clients, LEAVE_ONE_OUT)
    learners = by_client(clients)
    everyone = pooled(learners)
    known = {"honest": everyone.histories.matrix(), "leaky": _all_used(partition, everyone)}
    for variant, forbidden in known.items():
        drawn = _never_drawn(everyone, forbidden, seed)
        yield from _rows("no model, only counts of drawn negatives", variant, evaluator, drawn)
    for variant, forbidden in known.items():
        trained = _bpr(everyone, forbidden, epochs, seed)
        yield from _rows(f"LightFM, BPR, {epochs} epochs, pooled", variant, evaluator, trained)
    # A check for the opposite of a leak: if these models knew more than the order of earlier interactions, a
    # random order would not lower their metrics.
    shuffled = tuple(_shuffled(client, seed) for client in clients)
    for model in (ItemToItem(NextItemSpec()), ItemToItem(BlendSpec())):
        in_time = model.centralised(learners, seed)
        yield from _rows(model.name, "in order of time", evaluator, in_time)
        at_random = model.centralised(by_client(shuffled), seed)
        yield from _rows(model.name, "in random order", Evaluator(shuffled, LEAVE_ONE_OUT), at_random)


def _rows(what: str, variant: str, evaluator: Evaluator, trained: Trained) -> Iterator[dict[str, Any]]:
    found: Measured = evaluator.measure(lambda _: trained, (0,))
    for metric in _SHOWN:
        shown = interval(found.curves[metric])
        yield {
            "what": what,
            "variant": variant,
            "metric": metric,
            "value": round(shown.value, 5),
            "low": round(shown.low, 5),
            "high": round(shown.high, 5),
        }


def _all_used(partition: Partition, everyone: Learner) -> Any:
    """Return (users, items) with every interaction, including the held-out ones."""
    rows = {user_id: row for row, user_id in enumerate(everyone.user_ids)}
    frames = [read_interactions(client) for client in partition.clients]
    users = np.concatenate([frame["user_id"].map(rows).to_numpy() for frame in frames])
    items = np.concatenate([partition.catalog.rows_of(frame["item_id"].tolist()) for frame in frames])
    shape = (len(rows), len(partition.catalog))
    return Histories.of(users, items, np.arange(len(users)), shape).matrix()


def _never_drawn(everyone: Learner, forbidden: Any, seed: int) -> Trained:
    """Score an item by how rarely it was drawn as a negative, without any knowledge of a user's taste."""
    random = generator_for(seed, "leak")
    allowed = forbidden.toarray() == 0
    scores = np.empty(allowed.shape)
    for row, (free, history) in enumerate(zip(allowed, everyone.histories, strict=True)):
        drawn = random.choice(np.flatnonzero(free), size=_DRAWS * len(history))
        scores[row] = -np.bincount(drawn, minlength=allowed.shape[1])
    return _by_user(scores, everyone)


def _bpr(everyone: Learner, forbidden: Any, epochs: int, seed: int) -> Trained:
    """Train LightFM with negatives outside `forbidden` (users, items)."""
    histories = everyone.histories
    owners = np.repeat(np.arange(len(histories), dtype=np.int32), np.diff(histories.starts))
    data = TrainingSet(owners, histories.items.astype(np.int32), (len(histories), histories.n_items))
    known = forbidden.astype(np.float32).tocsr()
    known.sort_indices()
    data.positives = known
    spec = LightFMSpec(loss="bpr")
    items = initial_items(histories.n_items, spec.dims, seed)
    users = initial_users(len(histories), spec.dims, seed, "all")
    for epoch in range(1, epochs + 1):
        items, users = train_round(items, users, data, spec, seed=seed, round_=epoch, client_id="all")
    return _by_user(users.embeddings @ items.embeddings.T + items.biases, everyone)


def _by_user(scores: np.ndarray, everyone: Learner) -> Trained:
    rows: Mapping[str, int] = {user_id: row for row, user_id in enumerate(everyone.user_ids)}
    return Trained(lambda client: scores[[rows[user_id] for user_id in client.user_ids]])


def _shuffled(client: BenchClient, seed: int) -> BenchClient:
    """Return the client with each user's training interactions in random order."""
    random = generator_for(seed, "shuffled", client.id)
    own = client.histories
    items = np.concatenate([random.permutation(items) for items in own])
    held = client.held_out
    mixed = type(held)(Histories(items, own.starts, own.n_items), held.users, held.items, held.negatives)
    return BenchClient(client.id, client.user_ids, mixed)
