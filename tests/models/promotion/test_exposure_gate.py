"""The gate of the exposure alarm: what it holds, what it says, and how a person approves it."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from models.promotion.evidence import ShownItems
from models.promotion.exposure import Exposure, ExposurePolicy
from models.promotion.exposure_gate import approved, exposure_gate, is_held
from models.promotion.verdict import GateVerdict

ITEMS, LISTS = 300, 200
POLICY = ExposurePolicy()


def lists(**items: int) -> Exposure:
    """Return the exposure of a version by the number of lists of some items, such as `i3=50`."""
    counts = np.zeros(ITEMS, dtype=np.int64)
    for name, count in items.items():
        counts[int(name[1:])] = count
    return Exposure(counts, LISTS)


def shown(candidate: Exposure, *earlier: Exposure) -> ShownItems:
    """Return what a candidate and champions show, of which the oldest is version 1."""
    ids = [str(row) for row in range(ITEMS)]
    versions = range(len(earlier), 0, -1)
    return ShownItems(
        ids, [f"Film {each}" for each in ids], candidate, dict(zip(versions, earlier, strict=True))
    )


def test_an_item_that_jumps_is_named_with_both_shares_and_the_limit():
    verdict = exposure_gate(shown(lists(i3=150, i4=30), lists(i3=10), lists(i3=20, i4=30)), POLICY)

    assert (verdict.gate, verdict.passed) == ("exposure", False)
    assert verdict.observed == (
        "Film 3 [id 3] is in 0.750 of the lists, before in at most 0.100 "
        "(200 lists, compared with version 2, 1)"
    )
    # Earlier versions differ by .15 at most, of item 4.
    assert verdict.required.endswith("than the limit, or a person approves: 0.300")


def test_only_three_items_are_named_and_the_others_counted():
    verdict = exposure_gate(shown(lists(i1=50, i2=90, i3=70, i4=60, i5=80), lists()), POLICY)

    assert re.findall(r"0\.\d+", verdict.observed) == [
        *("0.450", "0.000"),
        *("0.400", "0.000"),
        *("0.350", "0.000"),
    ]
    assert "; and 2 more (200 lists" in verdict.observed


def test_a_candidate_like_its_champion_passes_and_its_farthest_item_is_named():
    verdict = exposure_gate(shown(lists(i3=60), lists(i3=40)), POLICY)

    assert verdict.passed
    assert verdict.observed.startswith(
        "no item jumps too far; farthest: Film 3 [id 3] is in 0.300 of the lists"
    )


def test_the_limits_of_the_policy_hold():
    found = shown(lists(i3=60), lists())
    assert not exposure_gate(found, POLICY).passed
    assert exposure_gate(found, ExposurePolicy(least=0.3)).passed


def test_without_an_earlier_champion_it_passes_and_says_so():
    verdict = exposure_gate(shown(lists(i3=200)), POLICY)
    assert verdict.passed
    assert verdict.observed == "there is no earlier champion to compare with"


def test_champions_that_are_not_compared_are_named():
    found = replace(shown(lists(i3=200)), left_out={7: "it is gone"})
    assert "; not compared with version 7: it is gone" in exposure_gate(found, POLICY).observed


def test_few_items_are_not_judged():
    few = ShownItems(
        ["a", "b"], ["A", "B"], Exposure(np.array([2, 2]), 2), {1: Exposure(np.array([0, 0]), 2)}
    )
    verdict = exposure_gate(few, POLICY)
    assert verdict.passed
    assert "not judged: honest lists of few items differ much, and there are 2 items" in verdict.observed


def test_a_candidate_that_makes_no_lists_does_not_pass():
    verdict = exposure_gate(ShownItems(error="Its bytes were changed."), POLICY)
    assert (verdict.passed, verdict.observed) == (False, "not measured: Its bytes were changed.")


def verdicts(*failed: str) -> tuple[GateVerdict, ...]:
    names = ("artefact", "quality", "exposure")
    return tuple(GateVerdict(name, name not in failed, f"saw {name}", "r") for name in names)


@pytest.mark.parametrize(
    ("failed", "held"),
    [((), False), (("exposure",), True), (("quality",), False), (("quality", "exposure"), False)],
)
def test_only_a_candidate_that_passes_all_other_gates_is_held(failed: tuple[str, ...], held: bool):
    assert is_held(verdicts(*failed)) is held


def test_an_approval_passes_a_held_candidate_and_keeps_what_was_seen():
    assert approved(verdicts("exposure"), "ada") == (
        *verdicts()[:2],
        GateVerdict("exposure", True, "saw exposure; approved by ada", "r"),
    )


@pytest.mark.parametrize("failed", [(), ("quality",), ("quality", "exposure")])
def test_an_approval_changes_no_other_verdict(failed: tuple[str, ...]):
    assert approved(verdicts(*failed), "ada") == verdicts(*failed)
