"""A round's sum in place of its model, for silos that have the model before.

The merge rule is public, so whoever has the previous model and the sum over the clients can take the server's
step and gets the same bytes. The sum is smaller than the model: most of its whole numbers are small. It tells
no more than the two models do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from models.federation.contribution import RunningSum
from models.federation.merge import MergeRule
from models.federation.model import GlobalModel
from models.kernel.json_values import number
from models.kernel.ranges import Range
from models.recommenders.base.family import Family
from tasks.exchange.codec import WellFormed, compressed_file, decode_packed, encode

_KIND = "model_step"
_TYPES = ("int8", "int16", "int32")
# Bytes allowed for the facts of a sum, besides its arrays.
_HEADER_BYTES = 1 << 16


def encode_step(
    rule: MergeRule[Any, Any], ranges: Mapping[str, Range], state: RunningSum[Any], done: float
) -> bytes | None:
    """Return the sum of a round, or None if a silo could not make the model's bytes from it.

    Args:
        rule: the round's merge rule.
        ranges: array name -> the range of the contributions' values.
        state: the sum, from which the model was made.
        done: share of the training before the round, from which a silo knows the rule.
    """
    if not rule.is_elementwise:
        return None
    arrays, steps = {}, {}
    for name, total in state.total.named():
        steps[name] = ranges[name].step
        whole = _whole_numbers(total / steps[name])
        if whole is None:
            return None
        arrays[name] = _planes(whole)
    facts = {"kind": _KIND, "done": done, "weight": state.weight, "steps": steps}
    return compressed_file(encode(arrays, facts))


def model_after(data: bytes, before: GlobalModel, family: Family, seed: int, origin: str) -> GlobalModel:
    """Return the model that a round's sum makes of the one before.

    Args:
        data: what `encode_step` returned.
        before: the model before the round.
        family: of the job.
        seed: of the job.
        origin: the file's name in error messages.

    Raises:
        CorruptArtifact: the bytes are no sum for this model.
    """
    widest = sum(array.size for _, array in before.items.named()) * np.dtype(_TYPES[-1]).itemsize
    arrays, facts = decode_packed(data, origin, widest + _HEADER_BYTES)
    with WellFormed(origin):
        if facts.get("kind") != _KIND:
            raise ValueError(f"it holds a {facts.get('kind')!r}, expected a {_KIND!r}")
        done = number(facts["done"], "share of the training")
        if not 0.0 <= done < 1.0:
            raise ValueError(f"the share of the training {done} is not one before its end")
        rule = family.rule(done, seed)
        form = rule.zero(before.items)
        if arrays.keys() != {*form.names()}:
            raise ValueError(f"its arrays are {', '.join(sorted(arrays))}")
        total = {
            name: _of_planes(arrays[name], array.shape) * number(facts["steps"][name], "step")
            for name, array in form.named()
        }
        weight = number(facts["weight"], "weight")
        return rule.finish(RunningSum(type(form)(**total), weight, ("all clients",)), before)


def _whole_numbers(steps: np.ndarray) -> np.ndarray | None:
    """Return the numbers in the smallest type that holds them, or None if one is not whole or too large."""
    if not steps.size or not bool((np.rint(steps) == steps).all()):
        return None
    for each in _TYPES:
        if np.iinfo(each).min <= steps.min() and steps.max() <= np.iinfo(each).max:
            return steps.astype(f"<{np.dtype(each).str[1:]}")
    return None


def _planes(numbers: np.ndarray) -> np.ndarray:
    """Return (bytes, values) uint8: the lowest byte of all numbers, then the next, as they compress best."""
    return np.ascontiguousarray(numbers.reshape(-1, 1).view(np.uint8).T)


def _of_planes(planes: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if planes.dtype != np.uint8 or planes.ndim != 2:  # noqa: PLR2004 - bytes and values
        raise ValueError("an array is not in planes of bytes")
    numbers = np.ascontiguousarray(planes.T).view(f"<i{len(planes)}")
    return numbers.reshape(shape).astype(np.float64)
