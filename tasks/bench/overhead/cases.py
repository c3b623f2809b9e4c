"""The federations whose overhead is measured, and their files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from models.errors import InvalidInput, NotFound
from models.kernel.seeds import generator_for
from tasks.datasets.client_assignment import ByChance, ByColumn, ByUser, Split

DIMS = 32
_SEED = 1
# Zipf's law: the item of rank r is drawn with a weight of r to the power of minus this.
_ZIPF = 0.8


@dataclass(frozen=True)
class Synthetic:
    """A world of random users, who use popular items more often.

    Attributes:
        users, items: their numbers.
        liked: number of items that each user used.
    """

    users: int
    items: int
    liked: int


@dataclass(frozen=True)
class Case:
    """One federation that is trained and measured.

    Attributes:
        name: names it on the command line.
        rounds: number of merges.
        split: how users become clients.
        world: the users and items; None for MovieLens-100K.
    """

    name: str
    rounds: int
    split: Split
    world: Synthetic | None = None


FULL = (
    Case("ml-100k-21", 30, ByColumn("occupation")),
    Case("ml-100k-943", 5, ByUser()),
    Case("synthetic-1000", 3, ByUser(), Synthetic(1_000, 20_000, 20)),
    Case("synthetic-10000", 3, ByUser(), Synthetic(10_000, 20_000, 20)),
)
# The number of clients beside which Flower is measured too.
BESIDE_FLOWER = Case("ml-100k-100", 5, ByChance(100))
QUICK = (
    Case("quick-4", 5, ByChance(4), Synthetic(200, 500, 20)),
    Case("quick-60", 3, ByUser(), Synthetic(60, 500, 20)),
)


def chosen_cases(names: Sequence[str], *, quick: bool, flower: bool) -> list[Case]:
    """Return the cases with these names in their order of measurement, or all cases without names.

    Raises:
        InvalidInput: there is no such case.
    """
    known = list(QUICK) if quick else [*FULL, *([BESIDE_FLOWER] if flower else [])]
    if unknown := sorted(set(names) - {case.name for case in known}):
        raise InvalidInput(
            f"There is no case {unknown[0]!r}.",
            next_step=f"Choose from {', '.join(case.name for case in known)}.",
        )
    return [case for case in known if case.name in names or not names]


@dataclass(frozen=True)
class Tables:
    """The files of a federation, which `fedrec data partition` reads.

    Attributes:
        interactions, items: the files.
        users: None if the split needs no column of users.
    """

    interactions: Path
    items: Path
    users: Path | None = None


def tables_of(case: Case, movielens: Path, folder: Path) -> Tables:
    """Return a case's files; those of a synthetic world are written into `folder`.

    Args:
        case: the case.
        movielens: the folder that `fedrec data fetch ml-100k` writes.
        folder: for the files of a synthetic world.

    Raises:
        NotFound: MovieLens-100K has not been fetched.
    """
    if case.world:
        return _write(case.world, folder)
    found = Tables(*(movielens / f"{name}.csv" for name in ("interactions", "items", "users")))
    if not found.interactions.is_file():
        raise NotFound(
            f"{movielens} does not contain MovieLens-100K, which the case {case.name} needs.",
            next_step=f"Run: fedrec data fetch ml-100k --out {movielens}. Or measure with --quick.",
            path=movielens,
        )
    return found


def _write(world: Synthetic, folder: Path) -> Tables:
    folder.mkdir(parents=True, exist_ok=True)
    draw = generator_for(_SEED, "overhead", world.users, world.items)
    weights = np.arange(1, world.items + 1) ** -_ZIPF
    # The smallest keys are a weighted draw without replacement (Efraimidis & Spirakis 2006, algorithm A).
    used = [
        np.argsort(draw.exponential(size=world.items) / weights)[: world.liked] for _ in range(world.users)
    ]
    interactions = pd.DataFrame(
        {
            "user_id": np.repeat([f"u{user}" for user in range(world.users)], world.liked),
            "item_id": [f"i{item}" for item in np.concatenate(used)],
            "timestamp": np.tile(np.arange(world.liked), world.users),
        }
    )
    tables = Tables(folder / "interactions.csv", folder / "items.csv")
    interactions.to_csv(tables.interactions, index=False)
    items = [(f"i{item}", f"Item {item}") for item in range(world.items)]
    pd.DataFrame(items, columns=["item_id", "title"]).to_csv(tables.items, index=False)
    return tables
