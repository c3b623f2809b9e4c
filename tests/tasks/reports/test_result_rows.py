"""The rows that the report and the terminal show, by hand arithmetic."""

from __future__ import annotations

import statistics
from statistics import stdev
from typing import Any

import pytest

from models.evaluation.benefit import Benefit
from tasks.messages.earlier_training import EarlierTraining
from tasks.messages.job_result import ContractSummary, DataFacts, FinalMetrics, JobResult, LeftOut, Timings
from tasks.reports.result_rows import (
    ClientBenefit,
    benefit_together,
    benefits,
    comparisons,
    contract_tallies,
    how_users_are_scored,
    in_bytes,
    notes,
    overall_benefit,
    rejections,
    time_shares,
    verdict,
)
from tests.worlds.records import CONFIG, client_result, job_result, rejection, round_result


def test_ratios_are_shown_only_if_both_sides_are_known():
    final = FinalMetrics(
        federated={"hr@10": 0.3, "ndcg@10": 0.2, "recall@20": 0.5},
        silo_only={"hr@10": 0.2, "ndcg@10": 0.0},
    )
    rows = comparisons(job_result(final=final))
    assert [row.metric for row in rows] == ["hr@10", "ndcg@10", "recall@20", "loo_hr@10", "loo_ndcg@10"]
    assert rows[0].to_silo_only == pytest.approx(1.5)
    # A ratio to zero has no meaning, and neither has a ratio to an unknown value.
    assert [rows[1].to_silo_only, rows[0].to_centralised, rows[2].to_silo_only] == [None] * 3
    assert rows[3].federated is None


def test_clients_are_sorted_from_the_greatest_gain_to_the_greatest_loss():
    gains = [("a", -0.5), ("b", None), ("d", 0.2), ("c", 0.2)]
    clients = tuple(client_result(name, benefit, 0.01) for name, benefit in gains)
    assert [one.client_id for one in benefits(job_result(clients=clients))] == ["c", "d", "a"]


@pytest.mark.parametrize(
    ("cases", "mean", "error", "margin", "clearly"),
    [
        # Student's t at 97.5 %: 2.776 with 4 degrees of freedom, 12.706 with 1, 1.984 with 99.
        (5, 0.028, 0.01, 0.02776, "gains"),
        (5, 0.027, 0.01, 0.02776, None),
        (5, -0.028, 0.01, 0.02776, "loses"),
        (5, -0.027, 0.01, 0.02776, None),
        (2, 0.1, 0.01, 0.12706, None),
        (100, 0.02, 0.01, 0.01984, "gains"),
        (1, -0.5, None, None, None),
        # Equal cases have no spread, and rounding makes none of it.
        (3, -0.5, 0.0, None, None),
        (3, 0.1, 1e-9, None, None),
        (9, 0.0, 0.0, None, None),
    ],
)
def test_a_difference_is_clear_if_students_interval_excludes_zero(cases, mean, error, margin, clearly):
    one = ClientBenefit("a", cases, mean, error)
    assert one.margin == (None if margin is None else pytest.approx(margin, rel=1e-3))
    assert (one.clearly_gains, one.clearly_loses) == (clearly == "gains", clearly == "loses")


def test_the_benefit_over_all_cases_is_that_of_their_union():
    # Client a: differences 0.1, 0.3 and 0.5. b: -0.1 and 0.1. c: 0.3, one case, whose error is unknown.
    cases = [[0.1, 0.3, 0.5], [-0.1, 0.1], [0.3]]
    gains = [
        ClientBenefit(
            name,
            len(values),
            statistics.fmean(values),
            stdev(values) / len(values) ** 0.5 if values[1:] else None,
        )
        for name, values in zip("abc", cases, strict=True)
    ]
    overall = benefit_together(gains)
    # The sum is 1.2 over six cases, the mean 0.2. The squares of the distances from it add up to 0.22.
    assert (overall.cases, overall.mean) == (6, pytest.approx(0.2))
    assert overall.standard_error == pytest.approx((0.22 / 5 / 6) ** 0.5)
    assert benefit_together([]) is None


SECURE = {"privacy": {"secure_sum": True}}


def published(count: int, **changes: Any) -> JobResult:
    """Return the result of a job of three silos in secure sums, of which some published a gain."""
    final = FinalMetrics(federated={"ndcg@10": 0.06}, silo_only={"ndcg@10": 0.05})
    clients = tuple(client_result(name, 0.05, 0.01) for name in "abc"[:count])
    facts = DataFacts("d" * 64, 3, None, 50, None, 120, 1560)
    parts = {"final": final, "clients": clients, "config": SECURE, "data": facts}
    return job_result(**parts | changes)


def test_the_benefit_over_all_cases_is_that_of_the_sums_and_not_that_of_who_published():
    result = published(1, benefit=Benefit(0.01, 0.01, 120))
    assert overall_benefit(result) == ClientBenefit("all clients", 120, 0.01, 0.01)
    assert verdict(result).endswith("alone (chance can explain the difference).")
    # Without the sums nothing is known of the others.
    assert overall_benefit(published(1)) is None
    assert verdict(published(1)).endswith("1.20 times what the clients reach alone.")
    assert overall_benefit(published(3)).cases == 27


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, []),
        (1, ["1 of 3 silos published its comparison; the figures of all are sums."]),
        (2, ["2 of 3 silos published their comparison; the figures of all are sums."]),
        (3, []),
    ],
)
def test_a_note_says_how_many_silos_published(count, said):
    assert [each for each in notes(published(count)) if "published" in each] == said
    assert not any("published" in each for each in notes(published(count, config={})))


def test_time_outside_all_stages_is_shown():
    shares = time_shares(job_result(timings=Timings(total_s=10.0, train_s=6.0, merge_s=3.0)))
    shown = {one.label: (one.seconds, one.share) for one in shares}
    assert shown["Training"] == (6.0, 0.6)
    assert shown["Report"] == (0.0, 0.0)
    assert shown["Not accounted for"] == (1.0, 0.1)
    assert sum(share for _, share in shown.values()) == pytest.approx(1)


def test_stages_that_overlap_share_their_sum():
    shares = time_shares(job_result(timings=Timings(total_s=4.0, train_s=6.0, merge_s=2.0)))
    shown = {one.label: one.share for one in shares}
    assert shown["Training"] == 0.75
    assert "Not accounted for" not in shown


def test_a_job_of_no_time_has_no_shares():
    assert {one.share for one in time_shares(job_result(timings=Timings(total_s=0.0)))} == {0.0}


def test_tallies_keep_the_breaches():
    broken = ContractSummary("updates", "round-2", False, "too long")
    fine = ContractSummary("updates", "round-1", True, "ok")
    other = ContractSummary("interactions", "artist", True, "ok")
    (first, second) = contract_tallies(job_result(contracts=(other, fine, broken)))
    assert (first.contract, first.checked, first.passed, first.broken) == ("interactions", 1, 1, ())
    assert (second.contract, second.checked, second.passed, second.broken) == ("updates", 2, 1, (broken,))


def test_rejections_carry_their_round():
    lost = rejection("artist")
    rounds = (round_result(1), round_result(2, rejected=(lost,)))
    assert rejections(job_result(rounds=rounds)) == [(2, lost)]


@pytest.mark.parametrize(
    ("final", "sentence"),
    [
        ({}, "It was not evaluated"),
        ({"federated": {"ndcg@10": 0.06}}, "NDCG@10 of 0.0600."),
        (
            {
                "federated": {"ndcg@10": 0.06},
                "centralised": {"ndcg@10": 0.08},
                "silo_only": {"ndcg@10": 0.05},
            },
            "0.0600: 75.0% of what pooling all data reaches and 1.20 times what the clients reach alone.",
        ),
    ],
)
def test_the_verdict_claims_only_what_was_measured(final, sentence):
    assert sentence in verdict(job_result(final=FinalMetrics(**final)))


@pytest.mark.parametrize(
    ("benefit", "end"),
    [(0.05, "alone."), (-0.05, "alone."), (0.01, "alone (chance can explain the difference).")],
)
def test_the_verdict_says_if_chance_can_explain_the_comparison(benefit, end):
    final = FinalMetrics(federated={"ndcg@10": 0.06}, silo_only={"ndcg@10": 0.05})
    clients = (client_result("a", benefit, 0.01), client_result("b", benefit, 0.01))
    assert verdict(job_result(final=final, clients=clients)).endswith(
        f"1.20 times what the clients reach {end}"
    )


@pytest.mark.parametrize(
    ("vectors", "metric", "words"),
    [
        ("trained", "ndcg@10", "trained with the items. fedrec evaluate has only the items"),
        ("folded_in", "ndcg@10", "by their histories, as in serving and by fedrec evaluate"),
        (None, "ndcg@10", None),
        ("folded_in", "rmse", None),
    ],
)
def test_rankings_say_which_user_vectors_they_come_from(vectors, metric, words):
    found = how_users_are_scored(
        job_result(user_vectors=vectors, final=FinalMetrics(federated={metric: 0.5}))
    )
    assert (found is None) if words is None else (words in found)


def test_the_verdict_of_a_stopped_job_is_its_reason():
    stopped = job_result(status="stopped", stop_reason="quorum not reached")
    assert verdict(stopped) == "The job stopped: quorum not reached."


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_500_000, "1.5 MB"), (2_000_000_000, "2.0 GB")],
)
def test_bytes_are_shown_in_decimal_units(count, text):
    assert in_bytes(count) == text


def test_a_better_round_before_the_last_is_named_with_what_the_last_has():
    rounds = tuple(
        round_result(place, version=8 + place, metrics={"validation/ndcg@10": value})
        for place, value in enumerate((0.25, 0.125), start=1)
    )
    final = FinalMetrics(federated={"ndcg@10": 0.5})
    assert notes(job_result(rounds=rounds, final=final)) == [
        "Round 1 (version 9) has the best validation NDCG@10, 0.2500; the last evaluated round has 0.1250. "
        "The test figures are those of the last round."
    ]
    assert notes(job_result(rounds=rounds[:1])) == [
        "The last round, 1 (version 9), has the best validation NDCG@10, 0.2500."
    ]
    assert notes(job_result(rounds=(round_result(1),))) == []


SIDES = FinalMetrics(federated={"ndcg@10": 0.06}, silo_only={"ndcg@10": 0.05}, centralised={"ndcg@10": 0.08})
FROM_CHAMPION = {
    "config": CONFIG | {"start_from": "champion"},
    "rounds": (round_result(1), round_result(2)),
    "final": SIDES,
    "clients": (client_result("a", 0.05, 0.01),),
}


def test_a_job_from_a_champion_says_how_many_rounds_all_have_had():
    result = job_result(**FROM_CHAMPION, earlier=EarlierTraining(30, 30))
    assert verdict(result).endswith("and 1.20 times what the clients reach alone.")
    assert notes(result) == [
        "It started from version 30 and has had 32 rounds in all, "
        "as many as each baseline has had on these data."
    ]
    alone = job_result(**FROM_CHAMPION | {"final": FinalMetrics()}, earlier=result.earlier)
    assert notes(alone) == ["It started from version 30 and has had 32 rounds in all."]


def test_a_champion_whose_rounds_are_not_recorded_is_compared_with_nothing():
    final = FinalMetrics(federated={"ndcg@10": 0.06})
    result = job_result(**FROM_CHAMPION | {"final": final}, earlier=EarlierTraining(30, None))
    (said,) = notes(result)
    assert said.endswith("whose rounds in all are not recorded, so it is compared with no baseline.")


def test_a_result_of_an_older_version_does_not_claim_more_than_its_baselines_had():
    result = job_result(**FROM_CHAMPION)
    assert verdict(result) == "Federated training reached NDCG@10 of 0.0600."
    assert notes(result) == [
        "It started from a champion, so its baselines had fewer rounds than it and are not compared."
    ]
    assert benefits(result) == []
    (row,) = [row for row in comparisons(result) if row.metric == "ndcg@10"]
    assert (row.federated, row.silo_only, row.centralised) == (0.06, None, None)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            LeftOut(validation=5, validation_cases=24, test=8, test_cases=24),
            "5 of 24 validation cases and 8 of 24 test cases do not count, because earlier trainings of the "
            "model saw them or may have.",
        ),
        (
            LeftOut(validation=24, validation_cases=24, test=24, test_cases=24),
            "24 of 24 validation cases and 24 of 24 test cases do not count, because earlier trainings of "
            "the model saw them or may have. A job with start_from: fresh can be evaluated.",
        ),
        # A stopped job has no test cases.
        (
            LeftOut(validation=5, validation_cases=24, test=0, test_cases=0),
            "5 of 24 validation cases do not count, because earlier trainings of the model saw them or may "
            "have.",
        ),
        (LeftOut(validation=0, validation_cases=24, test=0, test_cases=24), None),
    ],
)
def test_cases_that_do_not_count_are_said_with_their_number(found, said):
    assert notes(job_result(left_out=found)) == ([said] if said else [])
