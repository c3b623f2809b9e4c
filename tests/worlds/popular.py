"""A small world in which some items are far more popular than others, as in most shops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.towns import Tables, partition_by_town

ITEMS, USERS, USED = 320, 300, 40


@pytest.fixture(scope="session")
def popular_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a partition into three towns. The popularity of item n falls with n, in two tastes."""
    folder = tmp_path_factory.mktemp("popular")
    random = np.random.default_rng(5)
    weights = 1.0 / (1.0 + np.arange(ITEMS)) ** 1.2
    interactions = []
    for user in range(USERS):
        taste = weights * np.where(np.arange(ITEMS) % 2 == user % 2, 4.0, 1.0)
        used = random.choice(ITEMS, size=USED, replace=False, p=taste / taste.sum())
        interactions += [(f"u{user:03d}", f"i{item:03d}", 100 * user + at) for at, item in enumerate(used)]
    tables: Tables = {
        "interactions": (interactions, ["user_id", "item_id", "timestamp"]),
        "items": ([(f"i{item:03d}", f"Film {item}") for item in range(ITEMS)], ["item_id", "title"]),
        "users": (
            [(f"u{user:03d}", ("ash", "birch", "cedar")[user % 3]) for user in range(USERS)],
            ["user_id", "town"],
        ),
    }
    return partition_by_town(folder, tables)
