"""Each gate by hand arithmetic: what passes, what is refused, and what the verdict says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.errors import InvalidInput
from models.kernel.metric import Metric
from models.promotion.evidence import RoundEvaluation, RoundEvidence, ShownItems, Trial
from models.promotion.gates import (
    PromotionPolicy,
    artefact_gate,
    client_floor,
    clients_gate,
    contracts_gate,
    judge,
    quality_gate,
)

POLICY = PromotionPolicy()
NOTHING_SHOWN = ShownItems(error="Its bytes were changed.")
PASSED = {"interactions": "passed", "updates": "passed", "embeddings": "passed"}


def evidence(version: int = 2, ndcg: float | None = 0.5, **clients: tuple[float, float]) -> RoundEvidence:
    """Return a round whose NDCG@10 is `ndcg`, with each client's hits and cases of LOO HR@10."""
    evaluation = None
    if ndcg is not None:
        hits, cases = sum(h for h, _ in clients.values()), sum(n for _, n in clients.values())
        evaluation = RoundEvaluation(
            split="validation",
            metrics={"ndcg@10": Metric(ndcg * 100, 100), "loo_hr@10": Metric(hits, cases)},
            clients={client: {"loo_hr@10": Metric(*pair)} for client, pair in clients.items()},
        )
    return RoundEvidence(version, "job", 7, "s" * 64, "m" * 64, "d" * 64, "c" * 64, PASSED, evaluation)


def test_a_decision_keeps_what_finds_and_proves_a_round():
    assert evidence().identity() == {
        "job_id": "job",
        "round": 7,
        "sha256": "s" * 64,
        "manifest_sha256": "m" * 64,
        "data_digest": "d" * 64,
        "catalog_digest": "c" * 64,
    }


def test_contracts_pass_only_if_all_passed():
    assert contracts_gate(evidence()).passed
    breached = contracts_gate(replace(evidence(), contracts=PASSED | {"updates": "breached"}))
    assert not breached.passed
    assert "updates breached" in breached.observed
    assert not contracts_gate(replace(evidence(), contracts={})).passed


@pytest.mark.parametrize(
    ("trial", "passed"),
    [
        (Trial(scores=12, finite=12, distinct=3), True),
        (Trial(scores=12, finite=11, distinct=3), False),
        (Trial(scores=12, finite=12, distinct=1), False),
        (Trial(error="Its bytes were changed."), False),
    ],
)
def test_an_artefact_must_load_and_distinguish_items(trial, passed):
    assert artefact_gate(trial).passed is passed


def test_the_verdict_on_an_artefact_names_the_error():
    assert artefact_gate(Trial(error="Its bytes were changed.")).observed == "Its bytes were changed."


@pytest.mark.parametrize(("ndcg", "passed"), [(0.5, True), (0.49, True), (0.4899, False), (0.6, True)])
def test_quality_may_be_two_percent_below_the_champion(ndcg, passed):
    verdict = quality_gate(evidence(2, ndcg), evidence(1, 0.5), POLICY)

    assert verdict.passed is passed
    assert "against 0.5000 of version 1" in verdict.observed
    assert "0.4900" in verdict.required


def with_left_out(found, number, cases):
    metrics = found.evaluation.metrics | {"left_out": Metric(number, cases)}
    return replace(found, evaluation=replace(found.evaluation, metrics=metrics))


def test_cases_that_earlier_trainings_saw_are_counted_in_the_verdict():
    leaky = with_left_out(evidence(31, 0.9), 5.0, 40.0)
    said = (
        "; 5 of 40 cases of version 31 left out, because earlier trainings of the model saw them or may have"
    )
    for champion in (None, evidence(1)):
        verdict = quality_gate(leaky, champion, POLICY)
        assert verdict.passed
        assert verdict.observed.endswith(said)
    assert quality_gate(evidence(32, 0.5), leaky, POLICY).observed.endswith(said)
    for clean in (evidence(31), with_left_out(evidence(31), 0.0, 40.0)):
        assert "left out" not in quality_gate(clean, evidence(1), POLICY).observed


def test_a_version_without_a_case_that_counts_is_refused():
    found = evidence(31, 0.9)
    none = {"ndcg@10": Metric(0.0, 0.0), "left_out": Metric(40.0, 40.0)}
    verdict = quality_gate(replace(found, evaluation=RoundEvaluation("validation", none, {})), None, POLICY)
    assert not verdict.passed
    assert verdict.observed.startswith("version 31 has no validation case that counts; 40 of 40 cases")
    assert "start_from: fresh" in verdict.observed


@pytest.mark.parametrize(("seeds", "said"), [((1, 2), True), ((2, 2), False), ((None, 2), False)])
def test_another_evaluation_seed_is_named(seeds, said):
    mine, theirs = (replace(evidence(), evaluation_seed=seed) for seed in seeds)
    observed = quality_gate(mine, theirs, POLICY).observed
    assert ("measured with another evaluation.seed: candidate 1, champion 2" in observed) == said


def test_quality_without_a_champion_passes_and_says_so():
    verdict = quality_gate(evidence(), None, POLICY)

    assert verdict.passed
    assert "no champion" in verdict.observed


@pytest.mark.parametrize("gate", [quality_gate, clients_gate])
def test_a_candidate_that_was_not_evaluated_is_refused(gate):
    for champion in (None, evidence(1, a=(5, 10))):
        verdict = gate(evidence(2, None), champion, POLICY)
        assert not verdict.passed
        assert "version 2 (round 7) was not evaluated; promote a round that was" in verdict.observed


@pytest.mark.parametrize("gate", [quality_gate, clients_gate])
def test_a_champion_that_was_not_evaluated_cannot_be_compared(gate):
    verdict = gate(evidence(2, a=(5, 10)), evidence(1, None), POLICY)

    assert not verdict.passed
    assert "version 1 (round 7) was not evaluated" in verdict.observed


def test_an_unknown_metric_is_named_beside_the_known_ones():
    verdict = quality_gate(evidence(a=(5, 10)), None, PromotionPolicy(quality_metric="auc"))

    assert not verdict.passed
    assert verdict.observed == "version 2 has no value of 'auc'; it has: loo_hr@10, ndcg@10"


def test_a_comparison_across_data_is_marked_as_such():
    other = replace(evidence(1, a=(50, 100)), data_digest="e" * 64)

    for gate in (quality_gate, clients_gate):
        assert "measured on other data" in gate(evidence(2, a=(50, 100)), other, POLICY).observed
        assert "other data" not in gate(evidence(2, a=(50, 100)), evidence(1, a=(50, 100)), POLICY).observed


def test_the_floor_of_a_client_by_hand():
    # p = .5 of 100, d = .2: f = .4; error = sqrt(.25/100 + .24/100) = .07; floor = .4 - 2 * .07 = .26.
    floor = client_floor(Metric(0, 100), Metric(50, 100), PromotionPolicy(z=2.0))

    assert floor == pytest.approx(0.26)


def test_a_single_case_never_refuses():
    # p = 1 with no allowed share and no spread: only one case of ten may be lost.
    strict = PromotionPolicy(max_client_drop=0.0)

    assert client_floor(Metric(0, 10), Metric(10, 10), strict) == pytest.approx(0.9)
    assert clients_gate(evidence(2, a=(9, 10)), evidence(1, a=(10, 10)), strict).passed
    assert not clients_gate(evidence(2, a=(8, 10)), evidence(1, a=(10, 10)), strict).passed


def test_a_client_that_fell_by_more_than_chance_is_named():
    # Floor of "big": f = .4, error = .07, .4 - 1.645 * .07 = .2848.
    champion = evidence(1, big=(50, 100), kept=(50, 100))
    for hits, passed in ((29, True), (28, False)):
        verdict = clients_gate(evidence(2, big=(hits, 100), kept=(50, 100)), champion, POLICY)
        assert verdict.passed is passed
    assert "big dropped from 0.5000 to 0.2800 (floor 0.2849, 100 cases)" in verdict.observed
    assert "kept" not in verdict.observed
    assert "2 of 2 clients" in verdict.observed


def test_a_client_of_a_few_users_cannot_fall_by_chance():
    # p = .5 of 4: f = .4; error = sqrt(.25/4 + .24/4) = .35; .4 - 1.645 * .35 is below 0.
    verdict = clients_gate(evidence(2, tiny=(0, 4)), evidence(1, tiny=(2, 4)), POLICY)

    assert verdict.passed
    assert "0 of 1 clients have enough cases" in verdict.observed


def test_the_judged_client_that_is_nearest_to_its_floor_is_shown():
    # f = .8 * .5, and the floor is .4 - 1.645 sqrt(.25 / 100 + .24 / 100) = .28485. "tiny" has no floor.
    champion = evidence(1, far=(50, 100), near=(50, 100), tiny=(2, 4))
    verdict = clients_gate(evidence(2, far=(50, 100), near=(30, 100), tiny=(0, 4)), champion, POLICY)

    assert verdict.passed
    assert "nearest to its floor is near: 0.3000 with floor 0.2849 (before 0.5000)" in verdict.observed
    nobody = clients_gate(evidence(2, tiny=(0, 4)), evidence(1, tiny=(2, 4)), POLICY)
    assert nobody.observed.endswith("none of them dropped too far")


def test_clients_of_only_one_round_are_not_compared():
    champion = evidence(1, left=(90, 100), stays=(50, 100), idle=(0, 0))
    verdict = clients_gate(evidence(2, joins=(0, 100), stays=(50, 100), idle=(0, 0)), champion, POLICY)

    assert verdict.passed
    assert "1 of 1 clients" in verdict.observed


def test_clients_pass_if_there_is_no_champion():
    assert clients_gate(evidence(2, a=(5, 10)), None, POLICY).passed


def test_equal_models_are_hardly_ever_refused_by_chance():
    # 21 clients of 10 to 200 users whose true hit rate is .6 under both models, with independent errors.
    rng, refused = np.random.default_rng(3), 0
    sizes = np.linspace(10, 200, 21).astype(int)
    for _ in range(200):
        before, after = (
            evidence(1, **{f"c{i:02d}": (float(rng.binomial(n, 0.6)), float(n)) for i, n in enumerate(sizes)})
            for _ in range(2)
        )
        refused += not clients_gate(after, before, POLICY).passed
    assert refused / 200 < 0.05


def test_all_gates_are_evaluated_even_if_one_fails():
    verdicts = judge(evidence(2, None), Trial(error="gone"), evidence(1, a=(5, 10)), NOTHING_SHOWN, POLICY)

    assert [verdict.gate for verdict in verdicts] == [
        "contracts",
        "artefact",
        "quality",
        "clients",
        "exposure",
        "privacy",
    ]
    assert [verdict.passed for verdict in verdicts] == [True, False, False, False, False, True]


@pytest.mark.parametrize(
    "wrong", [{"tolerance": 1.0}, {"max_client_drop": -0.1}, {"tolerance": float("nan")}]
)
def test_a_share_outside_its_range_is_refused(wrong):
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        PromotionPolicy(**wrong)


def rated(version: int, squares: float, **clients: tuple[float, float]) -> RoundEvidence:
    """Return a round of predicted ratings: the sum of 100 squared errors, and each client's within a star."""
    within = sum(h for h, _ in clients.values()), sum(n for _, n in clients.values())
    evaluation = RoundEvaluation(
        split="validation",
        metrics={"rmse": Metric(squares, 100), "accuracy_within_1": Metric(*within)},
        clients={client: {"accuracy_within_1": Metric(*pair)} for client, pair in clients.items()},
    )
    return replace(evidence(version), evaluation=evaluation)


# Roots of means: sqrt(0.81) = 0.9, of which 1.02 times are 0.918, the root of 0.842724.
@pytest.mark.parametrize(("squares", "passed"), [(64.0, True), (84.27, True), (84.28, False), (100.0, False)])
def test_an_error_may_be_a_little_larger_than_the_champion_s(squares, passed):
    verdict = quality_gate(rated(2, squares, a=(80, 100)), rated(1, 81.0, a=(80, 100)), POLICY)
    assert verdict.passed == passed
    assert verdict.required == "rmse at most 1.02 times the champion's, on validation: 0.9180"
    assert f"rmse {(squares / 100) ** 0.5:.4f} against 0.9000 of version 1" in verdict.observed


def test_clients_of_predicted_ratings_are_compared_by_their_ratings_within_a_star():
    before = rated(1, 81.0, a=(900, 1000), b=(700, 1000))
    assert clients_gate(rated(2, 81.0, a=(880, 1000), b=(690, 1000)), before, POLICY).passed
    dropped = clients_gate(rated(2, 81.0, a=(500, 1000), b=(690, 1000)), before, POLICY)
    assert not dropped.passed
    assert "a dropped from 0.9000 to 0.5000" in dropped.observed


def test_a_ranking_and_ratings_cannot_be_compared():
    verdict = quality_gate(rated(2, 81.0, a=(80, 100)), evidence(1, a=(8.0, 10.0)), POLICY)
    assert not verdict.passed
    assert "version 1 has no value of 'rmse'; it has: loo_hr@10, ndcg@10" in verdict.observed


def test_a_policy_uses_the_metrics_of_the_candidate_s_kind_unless_it_names_its_own():
    policy = POLICY.of(rated(2, 81.0, a=(80, 100)))
    assert (policy.quality_metric, policy.client_metric) == ("rmse", "accuracy_within_1")
    policy = POLICY.of(evidence())
    assert (policy.quality_metric, policy.client_metric) == ("ndcg@10", "loo_hr@10")
    assert PromotionPolicy(quality_metric="mae").of(evidence()).quality_metric == "mae"


def test_the_comparisons_name_newer_champions_that_are_lost():
    trial = Trial(scores=3, finite=3, distinct=3)
    sound = [one.observed for one in judge(evidence(4, 0.5), trial, evidence(1, 0.5), NOTHING_SHOWN, POLICY)]
    named = [
        one.observed
        for one in judge(evidence(4, 0.5), trial, evidence(1, 0.5), NOTHING_SHOWN, POLICY, (3, 2))
    ]

    assert named[:2] == sound[:2]
    suffix = " (no longer there to compare with: 3, 2)"
    assert named[2:4] == [text + suffix for text in sound[2:4]]
    assert named[4] == sound[4]


def test_a_candidate_is_judged_by_the_newest_champion_that_is_left():
    trial = Trial(scores=3, finite=3, distinct=3)
    quality = judge(evidence(4, 0.48), trial, evidence(1, 0.5), NOTHING_SHOWN, POLICY, (3,))[2]
    assert (quality.passed, "against 0.5000 of version 1" in quality.observed) == (False, True)
    alone = judge(evidence(4, 0.48), trial, None, NOTHING_SHOWN, POLICY, (3,))[2]
    assert (alone.passed, "there is no champion to compare with" in alone.observed) == (True, True)


def test_clients_whose_figures_are_in_a_secure_sum_cannot_be_judged_and_that_is_said():
    summed = evidence(2, 0.5)
    metrics = {**summed.evaluation.metrics, "loo_hr@10": Metric(0.0, 100.0)}
    candidate = replace(summed, evaluation=RoundEvaluation("validation", metrics, {}))
    verdict = clients_gate(candidate, evidence(1, big=(50, 100)), POLICY)

    assert verdict.passed
    assert "inside a secure sum" in verdict.observed
