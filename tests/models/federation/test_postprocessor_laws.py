"""Laws that every registered postprocessor obeys, and those of a list of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from models.errors import InvalidInput
from models.federation import postprocessors as module
from models.federation.contribution import Contribution, RunningSum
from models.federation.model import ItemArrays
from models.federation.postprocessors import (
    ClientContext,
    Postprocessor,
    RoundContext,
    postprocessor_kind,
    postprocessor_names,
    postprocessor_of,
    process_contribution,
    process_sum,
    register_postprocessor,
    values_of,
)
from models.kernel.metric import Metric
from tests.worlds.postprocessors import Times

SHAPES = {
    "embeddings": (3, 2),
    "biases": (3,),
    "embedding_accumulators": (3,),
    "bias_accumulators": (3,),
}
CLIENT, SERVER = ClientContext(3, 7, 2, "ash"), RoundContext(3, 7, 2)


@register_postprocessor
@dataclass(frozen=True)
class Plus(Postprocessor):
    """Adds a number on the client, and takes it off the sum for each client."""

    name: ClassVar[str] = "test-plus"
    summand: float = 1.0

    def process_contribution(self, contribution, context):
        summand = np.float32(self.summand)
        return replace(contribution, arrays=contribution.arrays.map(lambda array: array + summand))

    def process_sum(self, total, context):
        summands = self.summand * len(total.clients)
        return replace(total, total=total.total.map(lambda array: array - summands))


@register_postprocessor
@dataclass(frozen=True)
class Jitter(Postprocessor):
    """Adds seeded noise on the client."""

    name: ClassVar[str] = "test-jitter"

    def process_contribution(self, contribution, context):
        generator = context.generator(self.name)
        noise = contribution.arrays.map(lambda array: generator.random(array.shape, dtype=np.float32))
        return replace(contribution, arrays=contribution.arrays.map(np.add, noise))


def subjects() -> dict[str, Postprocessor]:
    """Return all that are registered, also those of installed packages and of other test files."""
    return {name: postprocessor_of({"name": name}) for name in postprocessor_names()}


every_postprocessor = pytest.mark.parametrize("name", subjects())
GROUPS = st.fixed_dictionaries(
    {
        name: npst.arrays(np.float32, shape, elements=st.floats(0, 8, width=32))
        for name, shape in SHAPES.items()
    }
).map(lambda arrays: ItemArrays(**arrays))
CONTRIBUTIONS = st.builds(
    Contribution,
    GROUPS,
    interactions=st.integers(1, 100),
    metrics=st.just({"users": Metric(3.0, 1.0)}),
)


def form(arrays: ItemArrays) -> Mapping[str, tuple]:
    return {name: (array.shape, array.dtype) for name, array in arrays.named()}


def as_bytes(arrays: ItemArrays) -> bytes:
    return b"".join(array.tobytes() for _, array in arrays.named())


def summed(*contributions: Contribution) -> RunningSum:
    total = RunningSum.zero(contributions[0].arrays)
    for number, contribution in enumerate(contributions):
        total = total.plus(f"client-{number}", contribution)
    return total


@every_postprocessor
@settings(max_examples=25)
@given(contribution=CONTRIBUTIONS)
def test_a_client_half_keeps_form_and_weight_and_is_finite(name, contribution):
    processed = subjects()[name].process_contribution(contribution, CLIENT)
    assert form(processed.arrays) == form(contribution.arrays)
    assert processed.arrays.is_finite()
    assert processed.weight == contribution.weight
    assert processed.interactions == contribution.interactions
    assert processed.metrics == contribution.metrics


@every_postprocessor
@settings(max_examples=25)
@given(contributions=st.lists(CONTRIBUTIONS, min_size=1, max_size=3))
def test_a_server_half_keeps_form_and_clients(name, contributions):
    one = subjects()[name]
    total = summed(*(one.process_contribution(each, CLIENT) for each in contributions))
    processed = one.process_sum(total, SERVER)
    assert form(processed.total) == form(total.total)
    assert (processed.clients, processed.weight) == (total.clients, total.weight)


@every_postprocessor
@settings(max_examples=10)
@given(contribution=CONTRIBUTIONS)
def test_one_seed_gives_the_same_bytes(name, contribution):
    one, same = (
        as_bytes(process_contribution([subjects()[name]], contribution, CLIENT).arrays) for _ in range(2)
    )
    assert one == same
    total = summed(contribution)
    one, same = (as_bytes(process_sum([subjects()[name]], total, SERVER).total) for _ in range(2))
    assert one == same


@every_postprocessor
def test_a_postprocessor_is_made_again_from_its_values(name):
    assert postprocessor_of(values_of(subjects()[name])) == subjects()[name]
    assert values_of(subjects()[name])["name"] == name == postprocessor_kind(name).name


@given(contribution=CONTRIBUTIONS)
def test_the_empty_list_is_the_identity(contribution):
    assert process_contribution([], contribution, CLIENT) is contribution
    total = summed(contribution)
    assert process_sum([], total, SERVER) is total


def a_contribution(value: float) -> Contribution:
    return Contribution(ItemArrays(**{name: np.full(s, value, np.float32) for name, s in SHAPES.items()}))


def test_clients_go_first_to_last_and_the_server_last_to_first():
    brackets = [Times(4.0), Plus(2.0)]
    parts = [process_contribution(brackets, a_contribution(value), CLIENT) for value in (1.0, 5.0)]
    # (1 * 4) + 2 and (5 * 4) + 2, not (1 + 2) * 4 and (5 + 2) * 4.
    assert [part.arrays.biases.tolist() for part in parts] == [[6.0] * 3, [22.0] * 3]
    # (28 - 2 * 2) / 4, not 28 / 4 - 2 * 2.
    assert process_sum(brackets, summed(*parts), SERVER).total.biases.tolist() == [6.0] * 3


def test_randomness_differs_by_client_round_and_seed_and_from_the_servers():
    contexts = [
        CLIENT,
        replace(CLIENT, client_id="elm"),
        replace(CLIENT, round=4),
        replace(CLIENT, seed=8),
        SERVER,
    ]
    drawn = {context.generator("noise").integers(2**62) for context in contexts}
    assert len(drawn) == len(contexts)
    assert CLIENT.generator("noise").integers(2**62) in drawn
    assert CLIENT.generator("mask").integers(2**62) not in drawn


def test_a_server_half_is_optional():
    total = summed(a_contribution(2.0))
    assert Jitter().process_sum(total, SERVER) is total


def test_a_name_belongs_to_one_class():
    assert register_postprocessor(Times) is Times

    @dataclass(frozen=True)
    class Other(Times):
        pass

    with pytest.raises(InvalidInput, match="a postprocessor of the name 'test-times'"):
        register_postprocessor(Other)
    assert postprocessor_kind("test-times") is Times


@pytest.mark.parametrize("values", [{"name": "blur"}, {}, {"name": ["test-times"]}])
def test_an_unknown_name_lists_those_that_exist(values):
    with pytest.raises(ValueError, match=r"there is no postprocessor .*, only .*test-times"):
        postprocessor_of(values)


def test_an_unknown_setting_is_an_error():
    with pytest.raises(TypeError, match="strength"):
        postprocessor_of({"name": "test-times", "strength": 1})


def test_the_module_registers_none_of_its_own():
    own = {name for name in postprocessor_names() if postprocessor_kind(name).__module__ == module.__name__}
    assert own == set()


def test_a_setting_without_a_default_is_refused():
    @dataclass(frozen=True)
    class Unset(Postprocessor):
        name: ClassVar[str] = "test-unset"
        factor: float

        def process_contribution(self, contribution, context):
            return contribution

    with pytest.raises(InvalidInput, match="'factor' of the postprocessor 'test-unset' has no default"):
        register_postprocessor(Unset)
    assert "test-unset" not in postprocessor_names()


def test_a_class_without_the_decorator_is_refused():
    class Undecorated(Times):
        name: ClassVar[str] = "test-undecorated"
        factor: float = 3.0

    with pytest.raises(InvalidInput, match="Undecorated is not a frozen dataclass"):
        register_postprocessor(Undecorated)


def test_a_dataclass_that_can_change_is_refused():
    class Changeable(Postprocessor):
        name: ClassVar[str] = "test-changeable"

    # As of a package that does not freeze its classes; Python itself allows no such child of a frozen parent.
    Changeable.__dataclass_params__ = SimpleNamespace(frozen=False)
    with pytest.raises(InvalidInput, match="Changeable is not a frozen dataclass"):
        register_postprocessor(Changeable)


def test_a_field_that_cannot_be_given_is_refused():
    @dataclass(frozen=True)
    class Computed(Times):
        name: ClassVar[str] = "test-computed"
        square: float = field(default=4.0, init=False)

    with pytest.raises(
        InvalidInput, match="field 'square' of the postprocessor Computed cannot be a setting"
    ):
        register_postprocessor(Computed)


def test_a_name_that_is_a_field_is_refused():
    @dataclass(frozen=True)
    class Named(Times):
        name: str = "test-named"

    with pytest.raises(InvalidInput, match="field 'name' of the postprocessor Named cannot be a setting"):
        register_postprocessor(Named)
