"""The grid search behind configs/quality.yaml, on each protocol's validation part and never on the test.

It prints one JSON object per line: protocol, family, settings and metrics, and after each protocol the best
settings of each family. The families' statistics are added, so the pooled model equals the federated one, and
the grid trains on pooled data.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from models.evaluation.protocols import LEAVE_ONE_OUT, PROTOCOLS, Protocol
from models.kernel.histories import Histories
from models.recommenders.additive.blend import BlendFamily, BlendSpec
from models.recommenders.additive.ease import EaseFamily, EaseSpec
from models.recommenders.additive.ials import IalsSpec
from models.recommenders.additive.item_to_item import ItemToItemFamily
from models.recommenders.additive.next_item import NextItemFamily, NextItemSpec
from models.recommenders.items.item_weights import ItemWeights
from tasks.bench.quality.arms import Additive, ItemToItem, Trained, scores_by_history
from tasks.bench.quality.baselines import BaselineSpec, train_baseline
from tasks.bench.quality.cases import Learner, by_client, clients_of, pooled
from tasks.bench.quality.table_rows import Evaluator
from tasks.datasets.partition_reader import Partition, open_partition
from tasks.local.home import current_home

Candidate = tuple[str, dict[str, Any], Callable[[int], Trained]]


def main() -> None:
    """Print the grid's lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--protocol", nargs="+", choices=list(PROTOCOLS), default=list(PROTOCOLS))
    parser.add_argument("--family", nargs="+", help="only these")
    arguments = parser.parse_args()
    partition = open_partition(current_home().data / "ml-100k")
    for name in arguments.protocol:
        search(partition, PROTOCOLS[name], arguments.family)


def search(partition: Partition, protocol: Protocol, families: list[str] | None) -> None:
    """Measure every candidate under one protocol, and print the best of each family."""
    clients = clients_of(partition, protocol, "validation")
    evaluator = Evaluator(clients, protocol)
    metric = "loo_ndcg@10" if protocol == LEAVE_ONE_OUT else "ndcg@10"
    best: dict[str, tuple[float, dict[str, Any]]] = {}
    for family, settings, train in candidates(by_client(clients)):
        if families and family not in families:
            continue
        started = time.perf_counter()
        curves = evaluator.measure(train, (1,)).curves
        value = float(curves[metric][0, 0])
        line = {"protocol": protocol.name, "family": family, "settings": settings, metric: round(value, 5)}
        others = {name: round(float(curve[0, 0]), 5) for name, curve in curves.items() if name != metric}
        print(json.dumps(line | others | {"seconds": round(time.perf_counter() - started, 1)}), flush=True)
        best[family] = max(best.get(family, (-1.0, {})), (value, settings), key=lambda pair: pair[0])
    for family, (value, settings) in best.items():
        print(json.dumps({"protocol": protocol.name, "best": family, metric: value, "settings": settings}))
    sys.stdout.flush()


def candidates(learners: Mapping[str, Learner]) -> Iterator[Candidate]:
    """Yield family, settings and training of every candidate."""
    for k in (20, 50, 100):
        for name, key in (("item_knn", "item_neighbours"), ("user_knn", "user_neighbours")):
            yield name, {key: k}, partial(train_baseline, name, learners, BaselineSpec(**{key: k}))
    for dims, epochs, rate, ridge in product((16, 64), (50, 150), (0.02, 0.05), (0.01,)):
        bpr = BaselineSpec(dims=dims, epochs=epochs, learning_rate=rate, regularisation=ridge)
        shown = {"dims": dims, "epochs": epochs, "learning_rate": rate, "regularisation": ridge}
        yield "bpr_mf", shown, partial(train_baseline, "bpr_mf", learners, bpr)
    own = pooled(learners).histories
    for ridge in (100.0, 200.0, 300.0, 500.0, 800.0):
        shallow = _solved(EaseFamily(EaseSpec(ridge)), own)
        for memory in (0.0, 0.3, 0.5, 0.7, 0.85, 1.0):
            yield "ease", asdict(EaseSpec(ridge, memory)), partial(forgetting, shallow, memory)
    for unobserved, (ridge, exponent) in product((0.1, 0.3), ((0.05, 0.5), (0.2, 0.5), (0.01, 1.0))):
        factors = IalsSpec(32, ridge, unobserved, exponent)
        yield "ials", asdict(factors), partial(Additive(factors, 8).centralised, learners)
    for fading, ridge, dropout in product((0.25, 0.5, 0.75), (250.0, 500.0), (1.0,)):
        after = NextItemSpec(fading, ridge, dropout)
        yield "next_item", asdict(after), partial(ItemToItem(after).centralised, learners)
    for fading, ridge in product((0.5, 0.75), (250.0,)):
        following = NextItemSpec(fading, ridge)
        follows = _solved(NextItemFamily(following), own)
        for lasting in (EaseSpec(300.0), EaseSpec(500.0)):
            lasts = _solved(EaseFamily(lasting), own)
            for memory, weight in product((0.3, 0.5, 0.7), (0.15, 0.25, 0.5, 1.0)):
                spec = BlendSpec(fading, ridge, 1.0, lasting.regularisation, memory, weight)
                yield "blend", asdict(spec), partial(blended, follows, lasts, spec)


def _solved(family: ItemToItemFamily[Any], histories: Histories) -> ItemWeights:
    part = family.statistics(family.initial(histories.n_items, 0), histories)
    return family.solve(part.map(lambda array: array.astype(np.float64)), histories.n_items)


def forgetting(model: ItemWeights, memory: float, seed: int) -> Trained:
    """Return a model that is already solved, with this `forgetting`."""
    return Trained(scores_by_history(replace(model, forgetting=np.array([memory], dtype=np.float32))))


def blended(follows: ItemWeights, lasts: ItemWeights, spec: BlendSpec, seed: int) -> Trained:
    """Return a blend of two models that are already solved."""
    return Trained(scores_by_history(BlendFamily(spec).blended(follows, lasts)))


if __name__ == "__main__":
    main()
