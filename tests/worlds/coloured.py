"""A small world whose items have features that matter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.towns import Tables, partition_by_town

ITEMS, USERS, USED = 120, 90, 24


@pytest.fixture(scope="session")
def coloured_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a partition into three towns. Items are red or blue, and users prefer one colour nine to one."""
    folder = tmp_path_factory.mktemp("coloured")
    random = np.random.default_rng(5)
    interactions = []
    for user in range(USERS):
        taste = np.where(np.arange(ITEMS) // 2 % 2 == user % 2, 9.0, 1.0)
        used = random.choice(ITEMS, size=USED, replace=False, p=taste / taste.sum())
        interactions += [(f"u{user:02d}", f"i{item:03d}", 100 * user + at) for at, item in enumerate(used)]
    items = [
        (f"i{item:03d}", f"Film {item}", 1900 + item, ("red", "blue")[item // 2 % 2]) for item in range(ITEMS)
    ]
    towns = [(f"u{user:02d}", ("ash", "birch", "cedar")[user % 3]) for user in range(USERS)]
    tables: Tables = {
        "interactions": (interactions, ["user_id", "item_id", "timestamp"]),
        "items": (items, ["item_id", "title", "year", "genres"]),
        "users": (towns, ["user_id", "town"]),
    }
    return partition_by_town(folder, tables)
