"""What a gate says about a candidate."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GateVerdict:
    """The verdict of one gate.

    Attributes:
        gate: name of the gate.
        passed: whether the candidate passes.
        observed, required: what the gate observed and what it requires, as text.
    """

    gate: str
    passed: bool
    observed: str
    required: str
