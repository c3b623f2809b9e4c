"""The gate of the exposure alarm, and its approval by a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from models.kernel.clipping import clipped
from models.promotion.evidence import ShownItems
from models.promotion.exposure import ExposurePolicy, Jump, exposure_jumps, farthest_jump
from models.promotion.verdict import GateVerdict

EXPOSURE = "exposure"
# Length of a list.
LIST_LENGTH = 10
# Of fewer items, a list and its history hold a tenth or more. Shares are large then, and honest ones jump.
_FEWEST_ITEMS = 30 * LIST_LENGTH
_NAMED = 3


def exposure_gate(shown: ShownItems, policy: ExposurePolicy) -> GateVerdict:
    """Pass a candidate unless an item is in many more lists than in those of each earlier champion.

    A person can pass it nevertheless: see `approved`.
    """
    required = (
        f"no item's share of the lists of {LIST_LENGTH} jumps beyond its largest share in an earlier "
        "champion by more than the limit, or a person approves"
    )
    left_out = "".join(f"; not compared with version {each}: {why}" for each, why in shown.left_out.items())
    if shown.error is not None:
        return GateVerdict(EXPOSURE, False, f"not measured: {shown.error}{left_out}", required)
    if shown.candidate is None or not shown.earlier:
        alone = f"there is no earlier champion to compare with{left_out}"
        return GateVerdict(EXPOSURE, True, alone, required)
    if len(shown.item_ids) < _FEWEST_ITEMS:
        few = f"not judged: honest lists of few items differ much, and there are {len(shown.item_ids)} items"
        return GateVerdict(EXPOSURE, True, few, required)
    history = tuple(shown.earlier.values())
    jumps = exposure_jumps(shown.candidate, history, policy)
    versions = ", ".join(map(str, shown.earlier))
    compared = f"{shown.candidate.lists} lists, compared with version {versions}{left_out}"
    farthest = farthest_jump(shown.candidate, history, policy)
    if not jumps:
        observed = f"no item jumps too far; farthest: {_said(farthest, shown)} ({compared})"
    else:
        rest = f"; and {len(jumps) - _NAMED} more" if len(jumps) > _NAMED else ""
        observed = f"{'; '.join(_said(each, shown) for each in jumps[:_NAMED])}{rest} ({compared})"
    return GateVerdict(EXPOSURE, not jumps, observed, f"{required}: {farthest.limit:.3f}")


def is_held(verdicts: Sequence[GateVerdict]) -> bool:
    """Return whether the exposure gate did not pass and all others did, so that a person's look decides."""
    return {each.gate for each in verdicts if not each.passed} == {EXPOSURE}


def approved(verdicts: Sequence[GateVerdict], by: str) -> tuple[GateVerdict, ...]:
    """Return the verdicts of a held candidate with a person's approval of its exposure.

    The verdict keeps what the gate observed. Other verdicts, and those of other candidates, stay as they are.
    """
    if not is_held(verdicts):
        return tuple(verdicts)
    return tuple(
        each if each.passed else replace(each, passed=True, observed=f"{each.observed}{_approval(by)}")
        for each in verdicts
    )


def was_approved(observed: str, by: str) -> bool:
    """Return whether a person approved what the gate observed in an accepted decision of this actor."""
    return observed.endswith(_approval(by))


def _approval(by: str) -> str:
    return f"; approved by {by}"


def _said(jump: Jump, shown: ShownItems) -> str:
    title = f"{clipped(shown.titles[jump.item])} [id {clipped(shown.item_ids[jump.item])}]"
    return f"{title} is in {jump.share:.3f} of the lists, before in at most {jump.before:.3f}"
