"""Outcomes: what people read, and that stored outcomes are read back."""

import json

import pytest

from data_contracts.outcome import Breach, ContractOutcome
from models.errors import CorruptArtifact

UNKNOWN = Breach(
    expectation="item_known",
    column="unknown_item",
    observed="7 of 9 rows in breach: x, y",
    required="every item_id in the job's catalogue",
    keys=("0", "1", "2", "4", "5", "7", "8"),
    count=7,
)
BROKEN = ContractOutcome(
    contract="interactions",
    subject="farmer",
    passed=False,
    breaches=(UNKNOWN, Breach("enough_rows", None, "0", "at least 1 row")),
    evaluated=5,
    result={"success": False, "results": []},
)


def test_a_summary_names_the_requirement_the_observation_and_the_place() -> None:
    assert BROKEN.summary() == (
        "Contract interactions for farmer: 2 of 5 expectations broken: "
        "item_known: requires every item_id in the job's catalogue, got 7 of 9 rows in breach: x, y "
        "(at 0, 1, 2, 4, 5 and 2 more); "
        "enough_rows: requires at least 1 row, got 0."
    )


def test_a_summary_of_a_pass_is_one_line() -> None:
    held = ContractOutcome("updates", "round-7", True, (), 12, {})
    assert held.summary() == "Contract updates for round-7: all 12 expectations hold."


def test_an_outcome_is_read_back_from_its_json() -> None:
    assert ContractOutcome.from_json(BROKEN.to_json()) == BROKEN


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"contract": "updates"}',
        json.dumps({**json.loads(BROKEN.to_json()), "contract": "weather"}),
        json.dumps({**json.loads(BROKEN.to_json()), "breaches": [{"keys": []}]}),
        json.dumps({**json.loads(BROKEN.to_json()), "breaches": None}),
    ],
)
def test_other_text_is_not_an_outcome(text: str) -> None:
    with pytest.raises(CorruptArtifact):
        ContractOutcome.from_json(text)
