"""The rows of the privacy table: each recommender at each epsilon, with intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from models.evaluation.bootstrap import interval
from models.evaluation.protocols import LEAVE_ONE_OUT
from models.privacy.mechanisms import multiplier_for
from models.recommenders.base.data import Part
from models.recommenders.items.features import ItemFeatures
from tasks.bench.privacy.arms import ARMS, PrivateSpecs
from tasks.bench.quality.arms import ItemToItem
from tasks.bench.quality.cases import by_client, clients_of
from tasks.bench.quality.table_rows import Announce, Evaluator, numbers
from tasks.datasets.partition_reader import Partition, read_items

SHOWN = ("loo_hr@10", "loo_ndcg@10", "hr@10", "ndcg@10")
# What a private model must be better than.
FLOOR = "content only"
# What the same sums are worth without noise.
EXACT = "ease, no privacy"


def privacy_rows(
    partition: Partition,
    *,
    specs: PrivateSpecs,
    epsilons: Sequence[float],
    delta: float,
    seeds: Sequence[int],
    part: Part,
    announce: Announce,
) -> Iterator[dict[str, Any]]:
    """Yield the rows: dataset, clients, users, arm, epsilon, delta, multiplier, metric,
    value, low, high and seeds.

    The rows of the model without privacy have the epsilon None. Rows of the other recommenders have their
    difference to `FLOOR`, paired over the same users and draws: "above", "above_low" and "above_high".

    Args:
        partition: the data, with one client per silo.
        specs: the settings of the recommenders.
        epsilons: what each model promises to each user.
        delta: the same for all.
        seeds: of the noise. The interval is over users and over these.
        part: "test" for the table, "validation" for choices.
        announce: is called with a line of text for each step.
    """
    clients = clients_of(partition, LEAVE_ONE_OUT, part)
    learners, everyone = by_client(clients), Evaluator(clients, LEAVE_ONE_OUT)
    features = ItemFeatures.of(read_items(partition))
    facts = {
        "dataset": partition.root.name,
        "clients": len(learners),
        "users": sum(len(each.user_ids) for each in learners.values()),
    }
    for epsilon in epsilons:
        multiplier = multiplier_for(epsilon, delta)
        curves = {}
        for arm, train in ARMS.items():
            announce(f"epsilon {epsilon:g}: {arm}")
            measured = everyone.measure(
                partial(train, learners, features, specs, multiplier), seeds, by_client=False
            )
            curves[arm] = measured.curves
        for arm, found in curves.items():
            promise = {"arm": arm, "epsilon": epsilon, "delta": delta, "multiplier": multiplier}
            for metric in SHOWN:
                yield {
                    **facts,
                    **promise,
                    "metric": metric,
                    **numbers(interval(found[metric])),
                    **_above(found[metric], curves[FLOOR][metric]),
                    "seeds": len(seeds),
                }
    announce(EXACT)
    exact = everyone.measure(
        partial(ItemToItem(specs.ease).federated, learners), seeds[:1], by_client=False
    ).curves
    for metric in SHOWN:
        yield {
            **facts,
            "arm": EXACT,
            "epsilon": None,
            "metric": metric,
            **numbers(interval(exact[metric])),
            "seeds": 1,
        }


def _above(runs: np.ndarray, floor: np.ndarray) -> dict[str, float]:
    """Return the difference of two recommenders over the same replicates, with its interval."""
    found = numbers(interval(runs - floor))
    return {"above": found["value"], "above_low": found["low"], "above_high": found["high"]}
