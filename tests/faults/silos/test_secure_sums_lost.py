"""Members of secure sums that fall silent at each stage: the round has the plain sum of those that stayed.

Five members go on without one, and stop without two. The stopped job continues when they are back.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import Federation
from tests.faults.rosters import deal
from tests.faults.silence import Silence

MEMBERS = 5
TRAIN, EVALUATE, COMPARE = "train-000002", "evaluate-000003", "compare-000003"


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> Silence:
    found = Silence(TRAIN)
    found.install(monkeypatch)
    return found


@pytest.fixture
def five(federation: Federation, tmp_path: Path) -> Federation:
    """Return a federation of five clients with five users each."""
    deal(federation, tmp_path / "of-five", tuple(f"client-{number}" for number in range(MEMBERS)), users=25)
    return federation


def in_secure_sums(federation: Federation, **sections: Any) -> Any:
    evaluation = {"every": 3, "silo_only": True}
    return federation.config(privacy={"secure_sum": True}, evaluation=evaluation, **sections)


def test_the_models_of_secure_sums_are_those_of_plain_ones(five: Federation) -> None:
    config = in_secure_sums(five)
    result = five.run(config)
    five.check(config, result, {})
    assert result["clients"] == []
    assert result["final"]["federated"]["loo_hr@10"] > 0
    assert result["final"]["silo_only"]["loo_hr@10"] > 0


# A member that has masked is in the sum, whether or not it votes.
@pytest.mark.parametrize(
    ("method", "stage"), [("prepare", "training"), ("mask", "training"), ("agree", None)]
)
@pytest.mark.parametrize(
    "sum_id", [TRAIN, *(pytest.param(each, marks=pytest.mark.minutes) for each in (EVALUATE, COMPARE))]
)
def test_one_of_five_may_fall_silent_at_any_stage(
    five: Federation, silence: Silence, method: str, stage: str | None, sum_id: str
) -> None:
    silence.of, silence.sum_id = {"client-3": method}, sum_id
    config = in_secure_sums(five)
    result = five.run(config)
    rounds = [2] if sum_id == TRAIN and stage else []
    if method == "prepare":
        # It fails when all sums are to be prepared, and again in the round of this one.
        rounds = [1, 2] if sum_id == TRAIN else [1, 3]
    five.check(config, result, {round_: {"client-3": stage} for round_ in rounds})


@pytest.mark.parametrize(
    "of",
    [
        {"client-1": "mask", "client-3": "mask"},
        pytest.param({"client-1": "agree", "client-3": "agree"}, marks=pytest.mark.minutes),
        # Nobody reveals if all have voted.
        {"client-1": "agree", "client-3": "reveal"},
    ],
    ids=["mask", "agree", "reveal"],
)
def test_two_of_five_stop_the_job_which_continues_when_they_are_back(
    five: Federation, silence: Silence, of: dict[str, str]
) -> None:
    silence.of = of
    config = in_secure_sums(five)
    result = five.run(config)
    assert result["status"] == "stopped"
    assert "of 5 members, and needs 4" in result["stop_reason"]
    missing = result["stop_reason"].partition("Missing: ")[2]
    assert all(f"{name} (" in missing for name in of)
    five.check(config, result, {}, rounds=1)
    silence.of = {}
    result = five.run(config)
    five.check(config, result, {}, states={"COMPLETED": 1, "FAILED": 1})
