"""A silo's agent makes a model from a round's sum, and fetches the model whatever is wrong with the sum."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from models.federation.contribution import RunningSum
from tasks.exchange.codec import decode_model, encode, encode_model
from tasks.exchange.layout import model_steps_folder, models_folder
from tasks.exchange.model_steps import encode_step
from tasks.exchange.store import ArtifactRef, Exchange
from tasks.messages.orders import ModelStep
from tasks.messages.steps import StepOrder
from tests.tasks.gateway.test_agent import JOB, Town, checked, town

__all__ = ["checked", "town"]  # fixtures


@dataclass
class Round:
    """A round that the silo trained, and what the coordinator made of it.

    Attributes:
        town: the silo has the model before.
        before, after: the models before and after the round.
        sum: the bytes of the round's sum.
    """

    town: Town
    before: ArtifactRef
    after: ArtifactRef
    sum: bytes

    def order(self, ref: ArtifactRef) -> StepOrder:
        """Return the order to train from the newest model, which follows by the sum at `ref`."""
        given = self.town.order("train")
        order = dataclasses.replace(
            given.order, round=2, base=self.after, base_step=ModelStep(self.before, ref)
        )
        return dataclasses.replace(given, order=order)

    def put(self, data: bytes) -> ArtifactRef:
        return self.town.exchange.put(model_steps_folder(JOB), data)


@pytest.fixture
def trained(checked: Town) -> Round:
    first = checked.order("train")
    checked.place(first)
    assert checked.agent().do_next(5.0)
    before = decode_model(checked.exchange.get(first.order.base))
    rule = checked.context.family.rule()
    total = before.items.map(lambda array: np.full(array.shape, 0.5))
    state = RunningSum(total, 1.0, ("ash",))
    data = encode_step(rule, rule.ranges, state, 0.0)
    assert data is not None
    after = checked.exchange.put(models_folder(JOB), encode_model(rule.finish(state, before)))
    return Round(checked, first.order.base, after, data)


def performed(round_: Round, ref: ArtifactRef) -> str:
    """Let the agent do the order, and return what it said besides that it is done."""
    order_id = round_.town.place(round_.order(ref))
    assert round_.town.agent().do_next(5.0)
    assert round_.town.outcome(order_id)[0] == "answered"
    own = Exchange(round_.town.silo.exchange_url)
    assert [each.sha256 for each in own.listed(models_folder(JOB))] == [round_.after.sha256]
    return " ".join(each for each in round_.town.said if not each.startswith("Done"))


def test_a_sum_takes_the_place_of_the_model(trained: Round) -> None:
    ref = trained.put(trained.sum)
    # The gateway has nothing else to give.
    (trained.town.server.home.exchange / trained.after.path).unlink()
    assert performed(trained, ref) == ""


def changed(round_: Round, **facts: Any) -> bytes:
    before = decode_model(round_.town.exchange.get(round_.before))
    arrays = {name: np.zeros((1, array.size), np.uint8) for name, array in before.items.named()}
    good = {"kind": "model_step", "done": 0.0, "weight": 1.0, "steps": dict.fromkeys(arrays, 1.0)}
    return encode(arrays, good | facts)


def test_whatever_is_wrong_with_a_sum_the_model_is_fetched(trained: Round) -> None:
    town = trained.town
    own, model = Exchange(town.silo.exchange_url), town.exchange.get(trained.before)
    lost = trained.put(trained.sum)
    (town.server.home.exchange / lost.path).unlink()
    for ref, why in (
        (trained.put(changed(trained)), "makes another one here"),
        (trained.put(changed(trained, done=2.0)), "share of the training"),
        (trained.put(model), "holds a 'global_model'"),
        (lost, "The whole model is fetched: The gateway"),
    ):
        own.remove(models_folder(JOB))
        own.put(models_folder(JOB), model)
        town.said.clear()
        assert why in performed(trained, ref)
