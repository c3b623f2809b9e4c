"""The part of an order about secure sums: it is read as written, and anything else is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from models.errors import InvalidInput
from tasks.messages.steps import StepOrder
from tasks.messages.sum_forms import sum_id
from tasks.messages.sum_orders import SumOrder, answer_kind
from tests.tasks.messages.test_steps import ORDER

NAMES = ("ash", "birch", "cedar")
ANNOUNCED = {name: name.encode() for name in NAMES}
ASKED = SumOrder({"train-000003": NAMES}, ANNOUNCED, dict.fromkeys(NAMES, b"i" * 32), b"line\nline \xff")


def read(value: Any) -> SumOrder | None:
    """Return the part as a silo reads it in an order that travelled as JSON."""
    order = StepOrder("train", ORDER).as_json()
    order["order"]["sum"] = value
    return StepOrder.of_json(json.loads(json.dumps(order))).order.sum


def changed(**parts: Any) -> Any:
    """Return the JSON with these parts replaced, or left out if they are `...`."""
    value = ASKED.to_json() | parts
    return {name: part for name, part in value.items() if part is not ...}


@pytest.mark.parametrize(
    "asked",
    [ASKED, SumOrder(), SumOrder({sum_id("evaluate", 3): NAMES, sum_id("compare", 10**8): NAMES}, ANNOUNCED)],
)
def test_it_is_read_as_it_was_written(asked: SumOrder) -> None:
    ordered = StepOrder("train", replace(ORDER, sum=asked))
    assert StepOrder.of_json(json.loads(json.dumps(ordered.as_json()))).order.sum == asked


@pytest.mark.parametrize(
    "value",
    [
        *(changed(**{name: ...}) for name in ASKED.to_json()),
        *(changed(**{name: 5}) for name in ASKED.to_json()),
        changed(sums=[["train-000003", list(NAMES)]]),
        changed(sums={"train-000003": 5}),
        changed(sums={"train-000003": [*NAMES, 5]}),
        changed(announcements={**ASKED.to_json()["announcements"], "elm": "no base64!"}),
        changed(announcements={**ASKED.to_json()["announcements"], "elm": 5}),
        changed(request="no base64!"),
        changed(request=[1]),
        "text",
        [1],
    ],
)
def test_malformed_parts_are_refused(value: Any) -> None:
    with pytest.raises(InvalidInput, match="malformed part"):
        read(value)


@pytest.mark.parametrize(
    "name",
    [
        *("", "x", "train", "train-1", "train-0000001234", "check-000001", "train-000001\n", "Train-000001"),
        *("../train-000001", "train-000001/../x", "/train-000001", "train-00000\u0661", "x" * 100_000),
    ],
)
def test_the_id_of_a_sum_cannot_lead_out_of_its_folder(name: str) -> None:
    with pytest.raises(InvalidInput, match="is not the id of a secure sum") as caught:
        read(changed(sums={name: list(NAMES)}))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("members", [["ash", "ash", "birch", "cedar"], ["birch", "ash", "cedar"]])
def test_members_are_listed_once_and_sorted(members: list[str]) -> None:
    with pytest.raises(InvalidInput, match="not listed once each and sorted"):
        read(changed(sums={"train-000003": members}))


def test_members_without_announcements_are_refused() -> None:
    with pytest.raises(InvalidInput, match="without announcements: elm"):
        read(changed(sums={"train-000003": [*NAMES, "elm"]}))


def test_more_sums_than_are_prepared_at_once_are_refused() -> None:
    sums = {sum_id("train", round_): list(NAMES) for round_ in range(1, 65)}
    found = read(changed(sums=sums))
    assert found is not None
    assert len(found.sums) == 64
    with pytest.raises(InvalidInput, match="65 secure sums"):
        read(changed(sums=sums | {sum_id("train", 65): list(NAMES)}))


@pytest.mark.parametrize("sums", [{}, {"train-000001": NAMES, "train-000002": NAMES}])
def test_one_sum_is_needed_to_answer_it(sums: Any) -> None:
    with pytest.raises(InvalidInput, match=f"names {len(sums)} secure sums"):
        _ = SumOrder(sums, ANNOUNCED).one


def test_answers_to_different_requests_have_different_kinds() -> None:
    kinds = {
        answer_kind("agree", ASKED),
        answer_kind("reveal", ASKED),
        answer_kind("agree", replace(ASKED, request=b"other")),
        answer_kind("agree", replace(ASKED, sums={"train-000004": NAMES})),
        answer_kind("agree", None),
    }
    assert len(kinds) == 5
    assert answer_kind("agree", None) == "agree"
    # A repeated request is answered in the same place.
    assert answer_kind("agree", replace(ASKED, identities={})) == answer_kind("agree", ASKED)
