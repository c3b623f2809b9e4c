"""Measures whether LightFM's default settings reach pooled training on data of different density.

Each row of the printed table is a federation: a subset of the interactions, over silos. Its ratios
are those of the means over the seeds, federated over pooled, full ranking, with a 95 % interval over users
and seeds. "Chance" is pooled training with other seeds over pooled training: what no settings can improve.
Both arms train the same number of epochs. Choose settings on the validation cases, and look at the test
cases once.

Every training is added to a file of JSON lines, and a training that is in the file is not repeated. So an
interrupted run continues, and several runs share one table.

    fedrec data fetch ml-100k
    python benchmarks/default_quality.py results.jsonl
    python benchmarks/default_quality.py results.jsonl --subsets whole --silos 50 occupation
    python benchmarks/default_quality.py results.jsonl --interactions others.parquet --subsets few whole
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from flows.settings.overrides import apply_override
from flows.settings.training_config import TrainingConfig, parse_config
from models.evaluation.bootstrap import Interval, ratio_interval
from models.evaluation.protocols import LEAVE_ONE_OUT
from models.recommenders.lightfm.spec import LightFMSpec
from tasks.bench.quality.arms import LightFM
from tasks.bench.quality.cases import by_client, clients_of
from tasks.bench.quality.table_rows import Evaluator
from tasks.datasets.client_assignment import ByChance, ByColumn, Split
from tasks.datasets.partition import make_partition
from tasks.datasets.partition_reader import Partition, open_partition
from tasks.local.checksums import digest_of
from tasks.local.home import current_home
from tasks.tables.read import read_table

METRICS = ("hr@10", "ndcg@10")
ARMS = ("federated", "pooled", "pooled again")
_HISTORY, _ITEMS, _SUBSET_SEED, _OTHER_SEEDS = 6, 300, 0, 1000


def last_of_each_user(rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return each user's last six interactions, or any six without timestamps."""
    by = rows["timestamp"].astype(float) if "timestamp" in rows else pd.Series(rng.random(len(rows)))
    order = rows.iloc[np.argsort(by.to_numpy(), kind="stable")]
    return order.groupby("user_id").tail(_HISTORY).sort_index()


def sixth(rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return a sixth of the interactions; MovieLens-100K is then 1 % full."""
    return rows[rng.random(len(rows)) < 1 / 6]


def popular_items(rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return the interactions with 300 items that are drawn by their popularity."""
    counts = rows["item_id"].value_counts().sort_index()
    kept = rng.choice(counts.index, min(_ITEMS, len(counts)), replace=False, p=counts / counts.sum())
    return rows[rows["item_id"].isin(kept)]


def twentieth_of_users(rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return the interactions of a twentieth of the users."""
    users = np.sort(rows["user_id"].unique())
    return rows[rows["user_id"].isin(rng.choice(users, max(1, len(users) // 20), replace=False))]


SUBSETS: dict[str, Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]] = {
    "whole": lambda rows, _: rows,
    "short": last_of_each_user,
    "thin": sixth,
    "popular": popular_items,
    "few": twentieth_of_users,
}


class World(NamedTuple):
    """A subset of a file of interactions, and its silos."""

    interactions: Path
    subset: str
    silos: str

    @property
    def name(self) -> str:
        """The name in the table."""
        folder = self.interactions.parent.name.removesuffix("-raw")
        source = folder if self.interactions.stem == "interactions" else self.interactions.stem
        return f"{source.removesuffix('-interactions')}, {self.subset}, {self.silos} silos"

    def partition(self) -> Partition:
        """Return its partition, which is made when it does not exist."""
        out = current_home().data / "default-quality" / self.name.replace(", ", "-").replace(" ", "-")
        if out.is_dir():
            return open_partition(out)
        rows = read_table(self.interactions, ("user_id", "item_id")).data.to_pandas()
        kept = SUBSETS[self.subset](rows, np.random.default_rng(_SUBSET_SEED))
        out.parent.mkdir(parents=True, exist_ok=True)
        file = out.with_suffix(".parquet")
        kept.reset_index(drop=True).to_parquet(file)
        split: Split = ByChance(int(self.silos)) if self.silos.isdigit() else ByColumn(self.silos)
        users = None if self.silos.isdigit() else self.interactions.with_name("users.csv")
        return make_partition(file, out, split, users=users)


def main() -> None:
    """Train what is not in the file, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="file of JSON lines, one for each training")
    parser.add_argument("--interactions", type=Path, help="instead of MovieLens-100K")
    parser.add_argument(
        "--subsets", nargs="+", choices=[*SUBSETS], default=["whole", "short", "thin", "popular"]
    )
    parser.add_argument("--silos", nargs="+", default=["10"], help="numbers, or columns of users.csv")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--part", choices=["validation", "test"], default="validation")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="other than a default"
    )
    arguments = parser.parse_args()
    file = arguments.interactions or current_home().data / "ml-100k-raw" / "interactions.csv"
    for subset in arguments.subsets:
        for silos in arguments.silos:
            measure(World(file, subset, silos), arguments)
    print(table(arguments.results, arguments.part))


def measure(world: World, arguments: argparse.Namespace) -> None:
    """Add the trainings of a world that are not in the file."""
    partition = world.partition()
    config = config_of(partition, arguments.set)
    key = {
        "world": world.name,
        "part": arguments.part,
        "set": arguments.set,
        "settings": digest_of(config.deciding())[:12],
    }
    done = {identity(line) for line in lines_of(arguments.results)}
    clients = clients_of(partition, LEAVE_ONE_OUT, arguments.part)
    facts = facts_of(partition)
    evaluator, family, learners = Evaluator(clients, LEAVE_ONE_OUT), family_of(config), by_client(clients)
    for seed in arguments.seeds:
        for arm in ARMS:
            line = key | {"arm": arm, "seed": seed}
            if identity(line) in done:
                continue
            train = family.federated if arm == "federated" else family.centralised
            used = seed + _OTHER_SEEDS if arm == "pooled again" else seed
            curves = evaluator.measure(partial(train, learners), (used,)).curves
            found = {metric: curves[metric][0].round(6).tolist() for metric in METRICS}
            with arguments.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line | facts | {"rounds": family.rounds} | found) + "\n")
            shown = ", ".join(f"{metric} {found[metric][0]:.4f}" for metric in METRICS)
            print(f"{world.name}: seed {seed}, {arm}: {shown}", file=sys.stderr, flush=True)


def config_of(partition: Partition, overrides: list[str]) -> TrainingConfig:
    """Return the configuration of a job that sets nothing but these."""
    raw: dict[str, Any] = {"name": "job", "model_name": "model", "data": {"dir": str(partition.root)}}
    for override in overrides:
        apply_override(raw, override)
    return parse_config(raw, "The configuration")


def family_of(config: TrainingConfig) -> LightFM:
    """Return LightFM as the configuration trains it, federated and pooled."""
    spec, federation = config.train, config.federation
    if not isinstance(spec, LightFMSpec):
        sys.exit("This measures LightFM only.")
    epochs = max(1, int(spec.epochs_of(federation.rounds)))
    return LightFM(spec, federation.rounds, spec, epochs, federation.cohort_share)


def facts_of(partition: Partition) -> dict[str, float]:
    """Return what the table says about the data."""
    sizes = [(client.users, client.interactions) for client in partition.clients]
    users, interactions = (sum(each) for each in zip(*sizes, strict=True))
    return {"users": users, "items": len(partition.catalog), "interactions": interactions}


def lines_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of the file, if there is one."""
    if path.is_file():
        yield from map(json.loads, path.read_text(encoding="utf-8").splitlines())


def identity(line: dict[str, Any]) -> tuple[Any, ...]:
    """Return what tells a training from the others."""
    return (*group_of(line), line["arm"], line["seed"])


def group_of(line: dict[str, Any]) -> tuple[Any, ...]:
    """Return what the trainings of one row of the table have in common."""
    return line["world"], line["part"], " ".join(line["set"]), line["settings"]


def table(path: Path, part: str) -> str:
    """Return the table of the trainings of one part, in the order of the file."""
    groups: dict[tuple[Any, ...], dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for line in lines_of(path):
        if line["part"] == part:
            groups[group_of(line)][line["arm"]].append(line)
    head = ["data", "users x items", "full", "settings", "rounds", "seeds"]
    head += [f"{metric} {arm}" for metric in METRICS for arm in ("pooled", "ratio", "chance")]
    rows = [row_of(arms) for arms in groups.values() if all(arms[arm] for arm in ARMS)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def row_of(arms: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Return the cells of one row."""
    first = arms["federated"][0]
    users, items = first["users"], first["items"]
    cells = [first["world"], f"{users} x {items}", f"{first['interactions'] / users / items:.2%}"]
    cells += [" ".join(first["set"]) or "default", str(first["rounds"]), str(len(arms["federated"]))]
    for metric in METRICS:
        runs = {arm: np.array([line[metric] for line in lines]) for arm, lines in arms.items()}
        federated, pooled, again = (runs[arm] for arm in ARMS)
        cells.append(f"{pooled[:, 0].mean():.4f}")
        cells += [_shown(ratio_interval(each, pooled)) for each in (federated, again)]
    return cells


def _shown(found: Interval) -> str:
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


if __name__ == "__main__":
    main()
