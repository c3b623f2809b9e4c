"""Metrics in MLflow: the deciding one first, then the rest of the quality, the rounds and the seconds."""

from __future__ import annotations

from models.evaluation.ranking import METRICS
from models.evaluation.rating_metrics import RATING_METRICS
from tasks.messages.job_result import FinalMetrics, Timings
from tasks.tracking.metric_names import metrics_of_result, metrics_of_round, metrics_of_trial
from tests.worlds.records import job_result, rejection, round_record, round_result


def test_a_round_has_quality_counts_and_seconds() -> None:
    record = round_record(2, "ash", "birch", rejected=(rejection("elm", "late"),), update_bytes=70, drift=0.5)
    found = metrics_of_round(record, {"validation/ndcg@10": 0.25, "training/loss": 3.0}, {"merge": 1.5})
    assert found == {
        "quality/validation/ndcg_at_10": 0.25,
        "round/clients_accepted": 2,
        "round/clients_rejected": 1,
        "round/drift": 0.5,
        "round/training_loss": 3.0,
        "round/update_bytes": 70,
        "seconds/merge": 1.5,
    }


def test_a_result_has_the_test_cases_of_each_kind_of_training_and_seconds_of_the_whole_job() -> None:
    result = job_result(
        final=FinalMetrics(
            federated={"ndcg@10": 0.5, "hr@10": 0.75}, centralised={"ndcg@10": 0.625}, silo_only=None
        ),
        timings=Timings(total_s=10.0, train_s=4.0, training_cpu_s=3.0),
    )
    found = metrics_of_result(result)
    assert {name: value for name, value in found.items() if name.startswith("quality/")} == {
        "quality/ndcg_at_10": 0.5,
        "quality/test/hr_at_10": 0.75,
        "quality/test/ndcg_at_10": 0.5,
        "quality/test_centralised/ndcg_at_10": 0.625,
    }
    assert found["seconds/job/total"] == 10.0
    assert found["seconds/job/training_cpu"] == 3.0
    assert not [name for name in found if "lightfm" in name]


def test_by_the_alphabet_the_deciding_metric_comes_first_and_seconds_come_last() -> None:
    for names, first in ((METRICS, "quality/ndcg_at_10"), (RATING_METRICS, "quality/rmse")):
        scores = dict.fromkeys(names, 0.5)
        final = FinalMetrics(federated=scores, centralised=scores, silo_only=scores)
        validation = {f"validation/{name}": 0.5 for name in names}
        found = sorted(
            metrics_of_result(job_result(final=final).with_rounds((round_result(1, metrics=validation),)))
            | metrics_of_round(round_record(1, "ash", drift=1.0), validation, {"merge": 1.0})
        )
        assert found[0] == first
        groups = list(dict.fromkeys(name.partition("/")[0] for name in found))
        assert groups == ["quality", "round", "seconds"]


def test_a_result_names_the_best_round_by_validation() -> None:
    rounds = tuple(
        round_result(n, metrics={"validation/rmse": value}) for n, value in enumerate((0.75, 1.0), 1)
    )
    found = metrics_of_result(job_result().with_rounds(rounds))
    assert (found["quality/validation_best/round"], found["quality/validation_best/rmse"]) == (1, 0.75)


def test_a_job_without_test_cases_has_no_quality() -> None:
    found = metrics_of_result(job_result())
    assert not [name for name in found if name.startswith("quality")]


def test_a_trial_is_judged_on_the_validation_cases() -> None:
    assert metrics_of_trial({"objective": 0.5, "hr@10": 0.25}) == {
        "quality/objective": 0.5,
        "quality/validation/hr_at_10": 0.25,
    }
