"""Add a family of recommenders: item-to-item cosine similarity, federated in one round.

    python examples/new_family.py [PARTITION]

A family says what a client contributes, and what model follows from the sum of all contributions.
Everything else (contracts, journal, registry, gates, serving) works with it as with fedrec's own families.
`docs/tour.md` explains each part.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Ge

from flows import parse_config, train_locally
from models import (
    CooccurrenceFamily,
    EaseStatistics,
    FamilySpec,
    ItemWeights,
    register_family,
    symmetric,
)
from tasks import current_home


@dataclass(frozen=True)
class CosineSpec:
    """How the similarities are computed.

    Attributes:
        damping: added to the count of users of every item; it lowers the similarities of rare items.
        family: the family's name.
    """

    damping: Annotated[float, Ge(0)] = 10.0
    family: Literal["cosine"] = "cosine"


@register_family
@dataclass(frozen=True)
class CosineFamily(CooccurrenceFamily):
    """Items are similar that the same users used (Sarwar et al. 2001, section 3.1.1).

    The client half is inherited: each client counts how many of its users used both of two items.

    Attributes:
        spec: how the similarities are computed.
    """

    spec_type: ClassVar[type[FamilySpec]] = CosineSpec

    spec: CosineSpec

    def solve(self, total: EaseStatistics, n_items: int) -> ItemWeights:
        """Return the cosines between the items' columns: the server half."""
        both = symmetric(total.gram, n_items)
        users = np.diag(both)
        lengths = np.sqrt(users + self.spec.damping)
        # An item that nobody used has length 0 without damping.
        weights = both / np.outer(lengths, lengths).clip(min=1e-12)
        np.fill_diagonal(weights, 0.0)
        return ItemWeights.of(weights, 0.0, popularity=users)


def main() -> None:
    """Read the arguments, train the family, and print its metrics."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("partition", nargs="?", type=Path, default=current_home().data / "ml-100k")
    arguments = parser.parse_args()
    config = parse_config(
        {
            "name": "cosine",
            "model_name": "cosine",
            "data": {"dir": str(arguments.partition)},
            "train": {"family": "cosine", "damping": 10.0},
            "federation": {"rounds": 1},
        },
        "The example's configuration",
    )
    result = train_locally(config)
    for arm in ("federated", "silo_only"):
        metrics = getattr(result.final, arm)
        print(f"{arm:10} " + "  ".join(f"{name} {value:.4f}" for name, value in metrics.items()))


if __name__ == "__main__":
    main()
