"""What the gateway says is promoted has names and sizes that a silo can trust its disk with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tasks.silos.promotion import Promotion

FILE = {"name": "x.npy", "sha256": "0" * 64, "bytes": 1}
RIGHT = {
    "model_name": "movies",
    "bundle": "1-x",
    "manifest_sha256": "0" * 64,
    "decision": {},
    "files": [FILE],
}


def files(number: int) -> list[dict[str, Any]]:
    return [{**FILE, "name": f"x{each}"} for each in range(number)]


@pytest.mark.parametrize(
    "changes",
    [
        {"files": files(200)},
        {"files": [{**FILE, "bytes": 0}]},
        {"files": [{**FILE, "bytes": 4_000_000_000}]},
        {"model_name": "x" * 256},
        {"model_name": "Films & \u6620\u753b"},
    ],
)
def test_what_a_coordinator_may_promote_is_read(changes: Mapping[str, Any]) -> None:
    assert Promotion.of_json({**RIGHT, **changes}).bundle == "1-x"


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"files": [FILE, FILE]}, "same name"),
        ({"files": files(201)}, "has 201 files"),
        ({"files": [{**FILE, "bytes": -1}]}, "has -1 bytes"),
        ({"files": [{**FILE, "bytes": 4_000_000_001}]}, "has 4000000001 bytes"),
        ({"files": [{**FILE, "bytes": 1.5}]}, "bytes"),
        ({"model_name": ""}, "model's name"),
        ({"model_name": "x" * 257}, "model's name"),
    ],
)
def test_what_fills_the_disk_is_refused(changes: Mapping[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Promotion.of_json({**RIGHT, **changes})
