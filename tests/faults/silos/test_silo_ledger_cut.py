"""A silo whose egress ledger is cut off between two rounds sends no answer until the ledger is whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.coordinator.egress_witness import SiloWitness, require_witnessed, witnessed_answers
from tasks.silos.egress_ledger import read_ledger
from tests.faults.real_silos import NAMES, Silos, run

pytestmark = pytest.mark.timeout(600)


def ledger(silos: Silos, name: str) -> Path:
    return silos.home(name).root / "egress.jsonl"


def test_a_silo_with_a_cut_ledger_misses_its_round_and_returns_with_the_whole_one(silos: Silos) -> None:
    silos.start(*NAMES)
    file = ledger(silos, "cedar")
    kept: list[bytes] = []

    def hear(round_: int) -> None:
        if round_ == 1:
            kept.append(file.read_bytes())
            file.write_bytes(b"".join(kept[0].splitlines(keepends=True)[:-1]))
        if round_ == 2:
            file.write_bytes(kept[0])

    # No silo may miss it, even on a busy machine.
    config = silos.config(deadline_s=240)
    result = run(silos, config, hear)
    silos.federation.check(config, result, {2: {"cedar": "training"}})
    assert "LedgerTampered" in result["rounds"][1]["rejected"][0]["reason"]
    # The silo itself refused: nothing left it, and its log tells its owner why.
    assert silos.left("cedar", 2) == []
    assert "egress ledger was truncated or replaced" in (silos.home("cedar").root / "silo.log").read_text()
    records = silos.federation.journal(result).committed()
    assert [sorted(each.egress or {}) for each in records[1:]] == [list(NAMES), ["ash", "birch"], list(NAMES)]
    for name in NAMES:
        told = witnessed_answers(SiloWitness(silos.federation.home, name).read_verified())
        require_witnessed(read_ledger(ledger(silos, name)), told, name)
        in_rounds = [(each.egress or {})[name] for each in records[1:] if name in (each.egress or {})]
        assert in_rounds == [each.signed.head for each in told if each.context.kind == "train"]
