"""The gate of differential privacy: what a version promises, and what its account says about it."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

import pytest

from models.errors import InvalidInput
from models.kernel.metric import Metric
from models.privacy.figure_noise import figures_deviation, noise_margin
from models.privacy.guarantee import Guarantee
from models.privacy.mechanisms import Mechanism
from models.privacy.noise_plan import NoisePlan
from models.promotion.evidence import RoundEvaluation, RoundEvidence, ShownItems, Trial
from models.promotion.gates import PromotionPolicy, clients_gate, judge, quality_gate
from models.promotion.privacy_gate import Spend, privacy_gate
from tests.worlds.records import PROMISED

WITHIN = Spend(charged=1.0, spent=2.2)


def evidence(privacy: Guarantee | None, metrics: dict[str, Metric] | None = None) -> RoundEvidence:
    """Return a version of a job without figures of single clients."""
    passed = dict.fromkeys(("interactions", "updates", "embeddings"), "passed")
    evaluation = None if metrics is None else RoundEvaluation("validation", metrics, {})
    digests = ("s" * 64, "m" * 64, "d" * 64, "c" * 64)
    return RoundEvidence(4, "job-1", 1, *digests, passed, evaluation, privacy=privacy)


def test_the_noise_and_the_charge_follow_from_the_promise() -> None:
    assert PROMISED.plan == NoisePlan(3.73, 15, 0.1)
    assert PROMISED.mechanisms == (Mechanism(3.73),)
    assert not PROMISED.covers_coordinator
    assert replace(PROMISED, noise_by="clients under secure sums").covers_coordinator


def test_a_charged_version_within_its_budget_passes_with_the_balance() -> None:
    verdict = privacy_gate(PROMISED, WITHIN, 1.0)
    assert (verdict.gate, verdict.passed) == ("privacy", True)
    assert verdict.observed == (
        "each user has epsilon 1, delta 1e-05; the account 'users' has spent 2.2 of 3 of its year"
    )
    ever = replace(PROMISED, period="ever")
    assert privacy_gate(ever, WITHIN, None).observed.endswith("has spent 2.2 of 3")


@pytest.mark.parametrize(
    ("spend", "max_epsilon", "observed"),
    [
        (Spend(), None, "was never charged for it"),
        (Spend(charged=0.5, spent=0.5), None, "was charged an epsilon of 0.5 only"),
        (Spend(charged=1.0, spent=3.01), None, "is over its budget: it has spent 3.01 of 3 of its year"),
        (
            Spend(charged=1.0, spent=3.01, is_before_reset=True),
            None,
            "is over its budget: it had spent 3.01 of 3 of its year before a reset",
        ),
        (Spend(charged=8.0, spent=2.2), 1.0, "was charged an epsilon of 8, more than the version promises"),
        (Spend(charged=1.0, spent=2.2, is_other=True), None, "reserved another promise for its job"),
        (Spend(charged=1.0, spent=2.2, is_open=True), None, "was not settled for its job yet; run the job's"),
        (
            Spend(charged=1.0, spent=2.2, other_model="7" * 64),
            None,
            "was charged for another model of this job, 777777777777: promote the version of the job's last",
        ),
        (
            Spend(charged=1.0, spent=2.2, lost="it has 1 entries, but had 2 before, when it was"),
            None,
            "is not what it was: it has 1 entries, but had 2 before, when it was; restore it from a copy",
        ),
        (Spend(error="entry 2 was changed."), None, "cannot be read: entry 2 was changed."),
        (WITHIN, 0.9, "above the epsilon of 0.9 that is required"),
        (Spend(), 0.9, "above the epsilon of 0.9 that is required; the account 'users' was never charged"),
    ],
)
def test_a_broken_promise_is_named(spend: Spend, max_epsilon: float | None, observed: str) -> None:
    verdict = privacy_gate(PROMISED, spend, max_epsilon)
    assert not verdict.passed
    assert observed in verdict.observed


def test_a_larger_delta_does_not_make_an_epsilon_small() -> None:
    """The analytic Gaussian mechanism: a multiplier of .6 is epsilon 8 with delta 1e-5."""
    weak = replace(PROMISED, epsilon=1.0, delta=0.4, multiplier=0.6)
    verdict = privacy_gate(weak, WITHIN, 1.0)
    assert not verdict.passed
    assert "with delta 1e-05 it is epsilon 8" in verdict.observed
    assert privacy_gate(weak, WITHIN, 8.1).passed
    assert privacy_gate(weak, WITHIN, None).passed


def test_the_last_digits_of_an_accountant_do_not_decide() -> None:
    assert privacy_gate(PROMISED, Spend(charged=1.0 - 1e-9, spent=3.0 + 1e-9), 1.0).passed


def test_a_version_without_a_promise_passes_unless_one_is_required() -> None:
    assert privacy_gate(None, Spend(), None).passed
    required = privacy_gate(None, Spend(), 8.0)
    assert not required.passed
    assert required.observed == "it promises no differential privacy"
    assert required.required.startswith("differential privacy with epsilon at most 8")


def test_the_gate_is_one_of_all_and_no_other_one_passes_it() -> None:
    metrics = {"ndcg@10": Metric(30.0, 100.0), "loo_hr@10": Metric(60.0, 100.0)}
    arguments: tuple[Any, ...] = (Trial(scores=3, finite=3, distinct=3), None, ShownItems())
    candidate = evidence(PROMISED, metrics)
    uncharged = judge(candidate, *arguments, PromotionPolicy())
    assert [each.gate for each in uncharged if not each.passed] == ["privacy"]
    charged = judge(candidate, *arguments, PromotionPolicy(max_epsilon=1.0), spend=WITHIN)
    assert all(each.passed for each in charged)


def test_a_decision_keeps_the_promise() -> None:
    assert evidence(PROMISED).identity()["privacy"] == asdict(PROMISED)
    assert "privacy" not in evidence(None).identity()


def test_clients_of_a_private_job_have_no_figures_of_their_own() -> None:
    metrics = {"loo_hr@10": Metric(60.0, 100.0)}
    verdict = clients_gate(evidence(PROMISED, metrics), evidence(None, metrics), PromotionPolicy())
    assert verdict.passed
    assert verdict.observed == "only sums over all clients are told, with noise"


def test_a_job_without_a_share_for_figures_says_why_it_has_no_quality() -> None:
    silent = evidence(replace(PROMISED, figures_share=0.0))
    verdict = quality_gate(silent, None, PromotionPolicy())
    assert not verdict.passed
    assert "train with privacy.figures_share above 0" in verdict.observed
    early = quality_gate(evidence(PROMISED), None, PromotionPolicy()).observed
    assert early.endswith("pays for the noise of one evaluation; promote the version of its last round")


def test_figures_with_noise_say_how_far_it_moves_them() -> None:
    metrics = {"ndcg@10": Metric(30.0, 1000.0), "hr@10": Metric(60.0, 1000.0)}
    margin = noise_margin(metrics["ndcg@10"], PROMISED.plan, 2)
    alone = quality_gate(evidence(PROMISED, metrics), None, PromotionPolicy())
    said = f"ndcg@10 0.0300 (± {margin:.4f} by noise)"
    assert alone.observed == f"{said}; there is no champion to compare with"
    plain = quality_gate(evidence(PROMISED, metrics), evidence(None, metrics), PromotionPolicy())
    assert plain.observed.startswith(f"{said} against 0.0300 of version 4 (")
    silent = replace(PROMISED, figures_share=0.0)
    assert "noise" not in quality_gate(evidence(silent, metrics), None, PromotionPolicy()).observed


CASES = 100_000.0


def of_value(value: float, privacy: Guarantee | None) -> RoundEvidence:
    """Return a version of this NDCG@10, of an evaluation of one metric."""
    return evidence(privacy, {"ndcg@10": Metric(value * CASES, CASES)})


@pytest.mark.parametrize(
    ("of_candidate", "of_champion"), [(PROMISED, PROMISED), (PROMISED, None), (None, PROMISED)]
)
def test_a_candidate_may_be_worse_by_the_noise_of_both_versions(
    of_candidate: Guarantee | None, of_champion: Guarantee | None
) -> None:
    # 1.96 s / W for each noisy value v, times sqrt(1 + v²); the champion's counts .98 times. Both values are
    # about .3, for which sqrt(1 + v²) is 1.044.
    s = figures_deviation(PROMISED.plan, 1) * math.sqrt(PROMISED.summands)
    parts = 0.0 if of_candidate is None else 1.0, 0.0 if of_champion is None else 0.98
    margin = 1.96 * 1.044 * s / CASES * math.hypot(*parts)
    champion = of_value(0.3, of_champion)
    limit = 0.98 * 0.3
    just = quality_gate(of_value(limit - 0.98 * margin, of_candidate), champion, PromotionPolicy())
    assert just.passed
    assert "(worse than the tolerance, by no more than noise)" in just.observed
    assert "0.98 times the champion's, on validation: 0.2940, less " in just.required
    assert just.required.endswith(f" for noise: {limit - margin:.4f}")
    worse = quality_gate(of_value(limit - 1.02 * margin, of_candidate), champion, PromotionPolicy())
    assert not worse.passed
    assert "no more than noise" not in worse.observed
    better = quality_gate(of_value(0.295, of_candidate), champion, PromotionPolicy())
    assert "no more than noise" not in better.observed


def test_an_error_may_be_larger_by_the_noise_of_both_versions() -> None:
    policy = PromotionPolicy(quality_metric="mae")
    champion = evidence(PROMISED, {"mae": Metric(0.5 * CASES, CASES)})
    s = figures_deviation(PROMISED.plan, 1) * math.sqrt(PROMISED.summands)
    margin = 1.96 * s / CASES * math.hypot(1.0, 0.5) * math.hypot(1.0, 1.02)
    just, worse = (
        quality_gate(evidence(PROMISED, {"mae": Metric(value * CASES, CASES)}), champion, policy)
        for value in (0.51 + 0.98 * margin, 0.51 + 1.02 * margin)
    )
    assert (just.passed, worse.passed) == (True, False)
    assert "0.5100, plus " in worse.required


def test_the_noise_of_a_figure_is_that_of_all_its_clients() -> None:
    metrics = {"ndcg@10": Metric(0.3 * CASES, CASES)}
    few = evidence(PROMISED, metrics)
    # Four times the 15 clients that share the noise.
    verdict = quality_gate(replace(few, clients=60), None, PromotionPolicy())
    margin = 2.0 * noise_margin(metrics["ndcg@10"], PROMISED.plan, 1)
    assert f"0.3000 (± {margin:.4f} by noise)" in verdict.observed


def test_a_gate_that_noise_blinds_says_so() -> None:
    metrics = {"ndcg@10": Metric(1.0, 1000.0)}
    verdict = quality_gate(evidence(PROMISED, metrics), evidence(PROMISED, metrics), PromotionPolicy())
    assert verdict.passed
    assert "these figures do not tell which version is better" in verdict.observed


def test_noise_larger_than_the_cases_is_no_quality() -> None:
    drowned = evidence(PROMISED, {"ndcg@10": Metric(2.0, -7.0)})
    verdict = quality_gate(drowned, None, PromotionPolicy())
    assert not verdict.passed
    assert "leaves no case of 'ndcg@10'" in verdict.observed


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan")])
def test_a_limit_is_a_number_above_zero(limit: float) -> None:
    with pytest.raises(InvalidInput, match="largest epsilon"):
        PromotionPolicy(max_epsilon=limit)
