"""Updates that are damaged or wrong when they reach the merge are refused, each for its own round."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.exchange.store import ArtifactRef, Exchange
from tests.faults.damage import SENT, STORED


def test_damage_of_any_kind_costs_a_client_its_round(
    federation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In each round but the first and last of one job, cedar's update is damaged in another way."""
    kinds = [*SENT, *STORED]
    config = federation.config(federation={"rounds": len(kinds) + 2})
    put = Exchange.put

    def damaging(self: Exchange, folder: str, data: bytes) -> ArtifactRef:
        _, _, place = folder.partition("/updates/")
        round_, _, client_id = place.partition("/")
        # Round 1 is good, so that "stale" can name an older model than the base.
        kind = kinds[int(round_) - 2] if client_id == "cedar" and 2 <= int(round_) < len(kinds) + 2 else None
        ref = put(self, folder, SENT[kind][0](data) if kind in SENT else data)
        if kind in STORED:
            STORED[kind][0](federation.home.exchange / ref.path)
        return ref

    monkeypatch.setattr(Exchange, "put", damaging)
    result = federation.run(config)
    federation.check(config, result, {round_ + 2: {"cedar": "update"} for round_ in range(len(kinds))})
    for round_, kind in enumerate(kinds, 2):
        (rejection,) = result["rounds"][round_ - 1]["rejected"]
        assert ({**SENT, **STORED}[kind][1]) in rejection["reason"], kind
