"""Whatever stands in a message, it is read as something that can be written again, or refused by fedrec."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any

import pytest

from data_contracts.outcome import Breach, ContractOutcome
from models.errors import CorruptArtifact, FedrecError, InvalidInput
from models.ledger.head import Head
from tasks.messages.answers import Checked, answer_as_json, answer_of_json
from tasks.messages.outbox_messages import Refusal, message_of_json, message_to_json
from tasks.messages.record import Record
from tasks.messages.signed_head import SignedHead
from tasks.messages.steps import StepOrder
from tests.tasks.messages.test_records import MESSAGES, RECORDS
from tests.tasks.messages.test_steps import CHECK, DELIVERY, EVALUATION, FIGURES, ITEMS, LIMITS, ORDER, STEP

DEEP: list[Any] = []
for _ in range(3000):
    DEEP = [DEEP]
WRONG = [
    *(None, True, -1, 0, 2.5, 10**400, math.nan, -math.inf),
    *("", "x", "\ud800", [], [1], [None, "x"], {}, {"x": 1}, {"": None}, DEEP),
]

REFUSAL = Refusal(what="round 3", in_order=True, reason="no", refused_at="2026-11-28")
OUTCOME = ContractOutcome(
    "interactions", "ash", False, (Breach("item_known", "item_id", "x", "y", ("1",), 1),), 9, {"results": []}
)
SIGNED = SignedHead(Head(7, "e" * 64), "a" * 64)
ORDERS = [
    StepOrder("check", ORDER, {"limits": asdict(LIMITS), **ITEMS, "witnessed": SIGNED.as_json()}),
    StepOrder("compare", replace(ORDER, base_step=STEP), {"alone_rounds": 5}),
]


def order_read(value: Any) -> Any:
    """Read an order and all of its arguments."""
    order = StepOrder.of_json(value)
    for name in ("limits", "items", "alone_rounds", "witnessed"):
        if name in order.arguments:
            getattr(order, name)
    return order.as_json()


def record_read(kind: type[Record]) -> Callable[[Any], Any]:
    return lambda value: kind.of_json(value, "the file", "Do this.").to_json()


def answer_read(step: Any) -> Callable[[Any], Any]:
    return lambda value: answer_as_json(answer_of_json(step, "ash", value, 100.0))


def outcome_read(value: Any) -> Any:
    try:
        text = json.dumps(value)
    except RecursionError:
        text = "[" * 3000
    return json.loads(ContractOutcome.from_json(text).to_json())


# Name -> a good value, how it is read and written again, and the error about a wrong one.
KINDS: dict[str, tuple[Any, Callable[[Any], Any], type[FedrecError]]] = {
    **{
        f"{type(each).__name__} {place}": (each.to_json(), record_read(type(each)), CorruptArtifact)
        for place, each in enumerate([*RECORDS, REFUSAL])
    },
    **{
        f"message {each.kind}": (
            message_to_json(each),
            lambda value: message_to_json(message_of_json(value, "the file")),
            CorruptArtifact,
        )
        for each in MESSAGES
    },
    **{f"order {each.step}": (each.as_json(), order_read, InvalidInput) for each in ORDERS},
    "answer check": (answer_as_json(Checked(OUTCOME, 8, 80, "e" * 64)), answer_read("check"), FedrecError),
    "answer train": (answer_as_json(DELIVERY), answer_read("train"), FedrecError),
    "answer compare": (answer_as_json(EVALUATION), answer_read("compare"), FedrecError),
    "contract outcome": (json.loads(OUTCOME.to_json()), outcome_read, CorruptArtifact),
    "signed head": (SIGNED.as_json(), lambda value: SignedHead.of_json(value).as_json(), InvalidInput),
    "head": (vars(SIGNED.head), lambda value: vars(Head.of_json(value)), InvalidInput),
}


def changed(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield (part, value) with each part of the value in turn replaced by each wrong one, or left out."""
    yield from (("itself", wrong) for wrong in WRONG)
    if isinstance(value, dict):
        for name, inner in value.items():
            yield f"no {name}", {other: each for other, each in value.items() if other != name}
            yield from ((f"{name}.{part}", {**value, name: each}) for part, each in changed(inner))
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            for part, each in changed(inner):
                yield f"{place}.{part}", [*value[:place], each, *value[place + 1 :]]


@pytest.mark.parametrize("name", KINDS)
def test_a_wrong_value_is_refused_or_can_be_written_again(name: str) -> None:
    good, read, refusal = KINDS[name]
    good = json.loads(json.dumps(good))
    assert json.loads(json.dumps(read(good), allow_nan=False)) is not None
    refused = 0
    for part, value in changed(good):
        try:
            written = read(value)
        except refusal as error:
            assert str(error), part
            refused += 1
        except Exception as error:
            raise AssertionError(f"{name}, {part}: {type(error).__name__}: {error}") from error
        else:
            # Older jobs wrote an empty note about round 0.
            is_old = value == {} and name.startswith("TrackedRound")
            assert part != "itself" or is_old, f"{name} was read from {value!r:.80}"
            json.dumps(written, allow_nan=False)
    # All that are no objects, and every part that has a type of its own.
    assert refused > len(WRONG)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (math.nan, r"the file is not a record: its part 'training\.loss\.total' is not a finite number"),
        (10**400, r"the file is not a record: its part 'training\.loss\.total' is not a finite number"),
        (DEEP, r"the file (is not a record: it is nested too deeply|.*recursion limit exceeded)"),
    ],
)
def test_the_part_and_the_next_step_are_named(value: Any, words: str) -> None:
    written = RECORDS[0].to_json() | {"training": {"loss": {"total": value, "weight": 1.0}}}
    with pytest.raises(CorruptArtifact, match=words) as caught:
        type(RECORDS[0]).of_json(written, "the file", "Do this.")
    assert str(caught.value).endswith("Do this.")


@pytest.mark.parametrize("answer", [..., None, "None", "", "A" * 64, "a" * 63, 5, ["a" * 64]])
def test_a_signed_head_needs_the_digest_of_its_answer(answer: Any) -> None:
    value = {name: each for name, each in SIGNED.as_json().items() if name != "answer"}
    with pytest.raises(InvalidInput, match="SHA-256 of the answer"):
        SignedHead.of_json(value if answer is ... else value | {"answer": answer})


@pytest.mark.parametrize("changes", [{"subject": "birch"}, {"contract": "updates"}])
def test_a_client_speaks_about_its_own_interactions_alone(changes: dict[str, str]) -> None:
    outcome = json.dumps(json.loads(OUTCOME.to_json()) | changes)
    with pytest.raises(InvalidInput, match="its outcome is of"):
        answer_of_json("check", "ash", CHECK | {"outcome": outcome}, 0.0)


@pytest.mark.parametrize("part", ["benefit", "choice"])
@pytest.mark.parametrize("is_published", [False, True])
def test_an_evaluation_has_what_the_report_reads(part: str, *, is_published: bool) -> None:
    difference = {"benefit": {"total": 0.5, "weight": 2.0}}
    squared = {"benefit_squared": {"total": 0.5, "weight": 2.0}}

    def read(body: dict[str, Any]) -> None:
        masked = {"messages": {}, "seconds": 1.0, "alone_s": 0.0, "published": body}
        answer_of_json("compare", "ash", masked if is_published else body, 0.0)

    read(FIGURES | {part: difference | squared})
    for wrong in ({part: difference}, {part: squared}, {"metrics": {}}):
        with pytest.raises(InvalidInput, match="malformed part: it"):
            read(FIGURES | wrong)


def test_an_outcome_with_numbers_that_cannot_be_written_is_refused() -> None:
    text = OUTCOME.to_json().replace('"results": []', '"results": [NaN]')
    with pytest.raises(CorruptArtifact, match="it has the number NaN"):
        ContractOutcome.from_json(text)
