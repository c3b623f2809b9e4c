"""Measures whether a silo's users benefit from a personalised variant of the global model.

Leave-one-out is moved one step back. A variant is chosen on each user's third latest interaction and measured
on the second latest, the validation case. The latest, the test case, is not used at all. The output has one
JSON object per line: first each variant's difference in NDCG@10 from the global model over all users, then
the results of several ways to choose a variant for each silo.

- own N: the silo's own statistics counted N times more (families whose statistics add)
- alone A: the scores of the silo's own model, standardised, added with weight A
- popular C: how often the silo's own users used an item, standardised, added with weight C
- tuned E: LightFM, E more local epochs from the global model; biases E: of these the items' biases alone;
  half E: half of the way; users E: the users alone
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from models.evaluation.ranking import Scores, ndcg, product_scores
from models.evaluation.split import Split, sample_negatives
from models.federation.contribution import Contribution, RunningSum
from models.federation.model import ItemArrays, require
from models.kernel.arrays import ArrayGroup
from models.recommenders.additive.blend import BlendFamily, BlendSpec
from models.recommenders.additive.ease import EaseFamily, EaseSpec
from models.recommenders.additive.family import AdditiveFamily
from models.recommenders.base.data import Part
from models.recommenders.base.users import UserArrays
from models.recommenders.families.registry import history_scores
from models.recommenders.lightfm.family import LightFMFamily
from models.recommenders.lightfm.merge_rules import merge_rule
from models.recommenders.lightfm.simulation import Simulation
from models.recommenders.lightfm.spec import LightFMSpec
from models.recommenders.lightfm.training import train_round
from tasks.clients.silo_data import SiloData
from tasks.datasets.partition_reader import open_partition
from tasks.local.home import current_home
from tasks.tuning.trial import open_clients

Variant = tuple[str, str, Scores]
ADDITIVE: dict[str, AdditiveFamily[Any, Any]] = {
    "blend": BlendFamily(BlendSpec()),
    "ease": EaseFamily(EaseSpec(regularisation=300.0, forgetting=0.0)),
}
LIGHTFM = LightFMFamily(LightFMSpec())
OWN, ALONE, POPULAR, EPOCHS = (1.0, 3.0, 10.0), (0.1, 0.25, 0.5, 1.0), (0.1, 0.25), (1, 3, 10)
GLOBAL, LOCAL = "global", "local"
_NEGATIVES = 99
_LIGHTFM_ROUNDS = 30


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--family", choices=[*ADDITIVE, LIGHTFM.name()], required=True)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    partition = open_partition(current_home().data / "ml-100k")
    silos = {name: one_step_earlier(silo) for name, silo in open_clients(partition, 0, _NEGATIVES).items()}
    if arguments.family in ADDITIVE:
        variants = additive_variants(ADDITIVE[arguments.family], silos)
    else:
        variants = lightfm_variants(LIGHTFM.spec, silos, arguments.seed)
    # variant -> silo -> part -> the two metrics of each case
    measured: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    for silo, name, scores in variants:
        measured.setdefault(name, {})[silo] = {
            part: case_values(silos[silo], scores, part) for part in ("validation", "test")
        }
    for line in chain(compared(measured), chosen(measured)):
        print(json.dumps({"family": arguments.family, "seed": arguments.seed} | line), flush=True)


@dataclass(frozen=True)
class EarlierSilo(SiloData):
    """A silo without the latest interaction of each user, which is no sampled negative either.

    Attributes:
        later: the whole silo.
    """

    later: SiloData = field(kw_only=True)

    def _negatives(self, part: Part) -> np.ndarray:
        if part == "test":
            return self.later.validation_negatives
        split = self.later.split
        users, items = (
            np.concatenate([getattr(split, f"{name}_{column}") for name in ("train", "validation", "test")])
            for column in ("users", "items")
        )
        return sample_negatives(
            self.split.validation_users, users, items, self.n_items, n=self.negatives, seed=self.seed,
            client_id=self.client_id, split_name="a step earlier",
        )  # fmt: skip


def one_step_earlier(silo: SiloData) -> SiloData:
    """Return the silo with its validation cases as test, and its latest training cases as validation."""
    split, histories = silo.split, silo.histories
    order = np.lexsort((split.train_places, split.train_users))
    counts = np.bincount(split.train_users, minlength=len(histories))
    # Each user's last row in sorted order. Users with a single item keep it in training.
    last = np.zeros(len(order), dtype=bool)
    last[order[np.cumsum(counts)[counts > 1] - 1]] = True
    new = Split(
        split.train_users[~last], split.train_items[~last], split.train_places[~last],
        split.train_users[last], split.train_items[last], split.validation_users, split.validation_items,
    )  # fmt: skip
    kept = {each.name: getattr(silo, each.name) for each in fields(silo)}
    return EarlierSilo(**kept | {"split": new}, later=silo)


def additive_variants(family: AdditiveFamily[Any, Any], silos: Mapping[str, SiloData]) -> Iterator[Variant]:
    """Yield the variants of a family whose statistics are added."""
    n_items = next(iter(silos.values())).histories.n_items
    base = family.initial(n_items, 0)
    parts = {name: family.statistics(base, silo.histories) for name, silo in silos.items()}
    total = RunningSum.zero(family.nothing(n_items))
    for name in sorted(parts):
        total = total.plus(name, Contribution(parts[name]))
    model = family.solve(total.total, n_items)
    for name, silo in silos.items():
        shared = history_scores(model, silo.histories)
        own_items, _ = family.trained_alone(silo, rounds=1, seed=0, client_id=name)
        alone = history_scores(own_items, silo.histories)
        yield from scored_variants(name, silo, shared, alone)
        for weight in OWN:
            own = family.solve(_plus(total.total, parts[name], weight), n_items)
            yield name, f"own {weight:g}", history_scores(own, silo.histories)


def lightfm_variants(spec: LightFMSpec, silos: Mapping[str, SiloData], seed: int) -> Iterator[Variant]:
    """Yield the variants of LightFM."""
    simulation = Simulation(
        {name: silo.training for name, silo in silos.items()}, spec, merge_rule("adagrad_sum"), seed=seed
    )
    for _ in range(_LIGHTFM_ROUNDS):
        simulation.run_round()
    shared = require(simulation.model.items, ItemArrays)
    family = LightFMFamily(spec)
    for name, silo in silos.items():
        users = simulation.users[name]
        alone = family.scores(
            *family.trained_alone(silo, rounds=_LIGHTFM_ROUNDS, seed=seed, client_id=name), silo
        )
        yield from scored_variants(name, silo, _products(users, shared), alone)
        yield name, "fold-in", history_scores(shared, silo.histories)
        items, tuned, refit = shared, users, users
        for epoch in range(1, max(EPOCHS) + 1):
            at = {"seed": seed, "round_": _LIGHTFM_ROUNDS + epoch, "client_id": name}
            items, tuned = train_round(items, tuned, silo.training, spec, **at)
            _, refit = train_round(shared, refit, silo.training, spec, **at)
            if epoch not in EPOCHS:
                continue
            half = shared.map(lambda old, new: (old + new) / 2, items)
            biases = replace(shared, biases=items.biases)
            yield name, f"tuned {epoch}", _products(tuned, items)
            yield name, f"half {epoch}", _products(tuned, half)
            yield name, f"biases {epoch}", _products(users, biases)
            yield name, f"users {epoch}", _products(refit, shared)


def scored_variants(name: str, silo: SiloData, shared: Scores, alone: Scores) -> Iterator[Variant]:
    """Yield the global model, the silo's own model, and combinations of their scores."""
    yield name, GLOBAL, shared
    yield name, LOCAL, alone
    for weight in ALONE:
        yield name, f"alone {weight:g}", partial(_mixed, shared, alone, weight)
    counts = np.log1p(np.bincount(silo.histories.items, minlength=silo.histories.n_items))
    popular = _standardised(counts[np.newaxis])
    for weight in POPULAR:
        yield name, f"popular {weight:g}", partial(_mixed, shared, lambda users: popular, weight)


def case_values(silo: SiloData, scores: Scores, part: str) -> np.ndarray:
    """Return (cases, 2), NDCG@10 among all items and among 99 sampled ones."""
    ranks = silo.ranks(scores, part)
    return np.stack([ndcg(ranks.full, 10), ndcg(ranks.sampled, 10)], axis=1)


def compared(measured: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]]) -> Iterator[dict[str, Any]]:
    """Yield each variant, used by all silos, compared with the global model."""
    for name, by_silo in measured.items():
        line: dict[str, Any] = {"variant": name}
        for part in ("validation", "test"):
            values = _over_all(by_silo, part)
            line[part] = _figures(values, values - _over_all(measured[GLOBAL], part))
        yield line


def chosen(measured: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]]) -> Iterator[dict[str, Any]]:
    """Yield what each silo chooses by its own validation cases, and the result on the later cases."""
    variants = [name for name in measured if name != LOCAL]
    best = max(variants, key=lambda name: _over_all(measured[name], "validation")[:, 0].mean())
    offers = {"all of them": variants, "the best over all": [GLOBAL, best], "its own alone": [GLOBAL, LOCAL]}
    silos = list(measured[GLOBAL])
    for (what, offered), errors, metric in (
        (offer, errors, metric) for offer in offers.items() for errors in (0.0, 1.0, 2.0) for metric in (0, 1)
    ):
        taken = {
            silo: _take({name: measured[name][silo]["validation"][:, metric] for name in offered}, errors)
            for silo in silos
        }
        ours = {silo: measured[taken[silo]][silo] for silo in silos}
        values, base, own = (_over_all(one, "test") for one in (ours, measured[GLOBAL], measured[LOCAL]))
        losing = [s for s in silos if (ours[s]["test"] - measured[LOCAL][s]["test"])[:, 0].mean() < 0]
        yield {
            "offered": what,
            "names": offered if what != "all of them" else len(offered),
            "standard_errors": errors,
            "by": ("ndcg@10", "loo_ndcg@10")[metric],
            "not_global": {silo: name for silo, name in taken.items() if name != GLOBAL},
            "test": _figures(values, values - base),
            "benefit": _figures(values, values - own),
            "losing": losing,
        }


def _take(by_variant: Mapping[str, np.ndarray], errors: float) -> str:
    """Return the variant that beats the global model by most, and by more than `errors` standard errors."""
    found = GLOBAL
    most = 0.0
    for name, values in by_variant.items():
        difference = values - by_variant[GLOBAL]
        error = difference.std(ddof=1) / len(difference) ** 0.5 if len(difference) > 1 else np.inf
        if difference.mean() > max(most, errors * error):
            found, most = name, difference.mean()
    return found


def _figures(values: np.ndarray, difference: np.ndarray) -> dict[str, Any]:
    error = difference.std(axis=0, ddof=1) / len(difference) ** 0.5
    return {
        name: {
            "mean": round(float(values[:, k].mean()), 4),
            "difference": round(float(difference[:, k].mean()), 4),
            "error": round(float(error[k]), 4),
        }
        for k, name in enumerate(("ndcg@10", "loo_ndcg@10"))
    }


def _over_all(by_silo: Mapping[str, Mapping[str, np.ndarray]], part: str) -> np.ndarray:
    return np.concatenate([by_silo[silo][part] for silo in sorted(by_silo)])


def _mixed(shared: Scores, further: Scores, weight: float, users: np.ndarray) -> np.ndarray:
    return _standardised(shared(users)) + weight * _standardised(further(users))


def _standardised(scores: np.ndarray) -> np.ndarray:
    spread = scores.std(axis=1, keepdims=True)
    return (scores - scores.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1.0)


def _products(users: UserArrays, items: ItemArrays) -> Scores:
    return product_scores(users.embeddings, items.embeddings, items.biases)


def _plus(total: ArrayGroup, own: ArrayGroup, weight: float) -> Any:
    return total.map(lambda one, other: one + weight * other.astype(np.float64), own)


if __name__ == "__main__":
    main()
