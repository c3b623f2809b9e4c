"""Postprocessors: changes of contributions between the clients' training and the server's step.

A postprocessor has a client half, which changes one contribution before it leaves the client, and a server
half, which changes the sum before the merge rule uses it. A list of them nests like brackets: clients apply
the first to the last, the server the last to the first. pfl-research has the same design
(Granqvist et al. 2024, "pfl-research", `pfl.postprocessor`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, TypeVar

import numpy as np

from models.errors import InvalidInput
from models.federation.contribution import Contribution, RunningSum
from models.kernel.arrays import ArrayGroup
from models.kernel.registry import Registry
from models.kernel.seeds import generator_for

Arrays = TypeVar("Arrays", bound=ArrayGroup)
Kind = TypeVar("Kind", bound="type[Postprocessor]")


@dataclass(frozen=True)
class RoundContext:
    """The facts about a round that all parties know.

    Attributes:
        round: number of the model that the round makes.
        seed: the job's seed.
        cohort: number of clients selected for the round.
    """

    round: int
    seed: int
    cohort: int

    def generator(self, purpose: str) -> np.random.Generator:
        """Return a generator for one purpose, the same in every run of the job.

        Every party that knows the job's seed can draw the same numbers, so they hide nothing from the
        coordinator. Noise that protects users needs a secret of the client.
        """
        return generator_for(self.seed, "postprocessor", purpose, self.round)


@dataclass(frozen=True)
class ClientContext(RoundContext):
    """The facts about a round that a client knows.

    Attributes:
        client_id: the client.
    """

    client_id: str

    def generator(self, purpose: str) -> np.random.Generator:
        """Return a generator for one purpose of this client, the same in every run of the job."""
        return generator_for(self.seed, "postprocessor", purpose, self.round, self.client_id)


@dataclass(frozen=True)
class Postprocessor(ABC):
    """A change of contributions on the clients, and of their sum on the server.

    A subclass is a frozen dataclass: its fields are its settings, JSON values with defaults. Equal
    contributions in equal contexts must give equal bytes.

    Attributes:
        name: its name in configurations.
    """

    name: ClassVar[str]

    @abstractmethod
    def process_contribution(
        self, contribution: Contribution[Arrays], context: ClientContext
    ) -> Contribution[Arrays]:
        """Return the contribution to send, with arrays of the same names, shapes and dtype (float32).

        The update contract checks the returned contribution, and compares its weight with the merge rule's.
        """

    def process_sum(self, total: RunningSum[Arrays], context: RoundContext) -> RunningSum[Arrays]:
        """Return the sum (float64) for the merge rule, with arrays of the same names and shapes."""
        return total


_REGISTRY: Registry[type[Postprocessor]] = Registry("postprocessor", "fedrec.postprocessors")


def register_postprocessor(kind: Kind) -> Kind:
    """Register a class under its name, so that configurations can name it.

    An installed package registers its own by an entry point of the group `fedrec.postprocessors` that names
    the class or its module.

    Raises:
        InvalidInput: the class is not a frozen dataclass, its name is odd or belongs to another class, or a
            setting has no default or cannot be given.
    """
    if "__dataclass_params__" not in vars(kind) or not vars(kind)["__dataclass_params__"].frozen:
        raise InvalidInput(
            f"The postprocessor {kind.__name__} is not a frozen dataclass.",
            next_step="Put @dataclass(frozen=True) on the class: its fields are its settings.",
        )
    for each in fields(kind):
        if each.name == "name" or not each.init:
            raise InvalidInput(
                f"The field {each.name!r} of the postprocessor {kind.__name__} cannot be a setting.",
                next_step="Make `name` a ClassVar, and let each other field be an argument of the class.",
            )
        if each.default is MISSING and each.default_factory is MISSING:
            raise InvalidInput(
                f"The setting {each.name!r} of the postprocessor {kind.name!r} has no default.",
                next_step="Give it one, so that its name alone makes a postprocessor.",
            )
    _REGISTRY.add(getattr(kind, "name", ""), kind)
    return kind


def postprocessor_names() -> tuple[str, ...]:
    """Return the names of all registered postprocessors, sorted."""
    return _REGISTRY.names()


def postprocessor_kind(name: object) -> type[Postprocessor]:
    """Return the class of this name.

    Raises:
        ValueError: there is no such postprocessor.
    """
    return _REGISTRY.find(name)


def postprocessor_of(values: Mapping[str, Any]) -> Postprocessor:
    """Return the postprocessor that these values describe: its name, and its settings.

    Raises:
        ValueError: there is no postprocessor of that name.
        TypeError: a setting is unknown.
    """
    settings = {name: value for name, value in values.items() if name != "name"}
    return postprocessor_kind(values.get("name"))(**settings)


def values_of(postprocessor: Postprocessor) -> dict[str, Any]:
    """Return the values from which `postprocessor_of` creates this postprocessor."""
    settings = {each.name: getattr(postprocessor, each.name) for each in fields(postprocessor)}
    return {"name": postprocessor.name, **settings}


def process_contribution(
    postprocessors: Sequence[Postprocessor], contribution: Contribution[Arrays], context: ClientContext
) -> Contribution[Arrays]:
    """Return the contribution after all client halves, applied first to last."""
    for each in postprocessors:
        contribution = each.process_contribution(contribution, context)
    return contribution


def process_sum(
    postprocessors: Sequence[Postprocessor], total: RunningSum[Arrays], context: RoundContext
) -> RunningSum[Arrays]:
    """Return the sum after all server halves, applied last to first."""
    for each in reversed(postprocessors):
        total = each.process_sum(total, context)
    return total
