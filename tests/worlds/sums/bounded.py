"""A family that bounds each user's part, for tests of what asks for noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal

from models.recommenders.additive.ease import EaseFamily
from models.recommenders.base.family import FamilySpec
from models.recommenders.families.registry import forget_family, register_family


@dataclass(frozen=True)
class BoundedSpec:
    """The settings of `BoundedFamily`."""

    regularisation: float = 1.0
    family: Literal["bounded"] = "bounded"


class BoundedFamily(EaseFamily):
    """EASE that says how much noise would hide a user. No job of it is run."""

    spec_type: ClassVar[type[FamilySpec]] = BoundedSpec

    def unit_noise(self, round_: int) -> Mapping[str, float] | None:
        return {"gram": 1.0}


@contextmanager
def bounded_family() -> Iterator[None]:
    """Let configurations name the family within the block."""
    register_family(BoundedFamily)
    try:
        yield
    finally:
        forget_family(BoundedFamily)
