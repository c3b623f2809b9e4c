"""LightFM's merge rules, by name."""

from __future__ import annotations

from dataclasses import replace

from models.recommenders.lightfm.delta_rules import AdagradSum, DeltaRule, Mean, Sum, WeightedMean
from models.recommenders.lightfm.server_optimisers import FedAdagrad, FedAdam, FedYogi
from models.recommenders.lightfm.spec import WHOLE_BITS, MergeRuleName


def merge_rule(
    name: MergeRuleName, server_learning_rate: float = 1.0, sent_bits: int = WHOLE_BITS
) -> DeltaRule:
    """Return the merge rule of this name, whose contributions have values of so many bits."""
    rules: dict[MergeRuleName, DeltaRule] = {
        "adagrad_sum": AdagradSum(server_learning_rate),
        "sum": Sum(server_learning_rate),
        "mean": Mean(),
        "weighted_mean": WeightedMean(),
        "fedadagrad": FedAdagrad(server_learning_rate),
        "fedadam": FedAdam(server_learning_rate),
        "fedyogi": FedYogi(server_learning_rate),
    }
    return replace(rules[name], sent_bits=sent_bits)
