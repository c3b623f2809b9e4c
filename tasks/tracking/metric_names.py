"""The names of a run's metrics in MLflow, whose pages sort them by the alphabet.

`quality/` comes first, because runs are compared by it, then `round/` and `seconds/`. The first metric of all
is the deciding one on the test cases.
"""

from __future__ import annotations

from collections.abc import Mapping

from models.evaluation.judgement import judgement_of
from models.evaluation.trained_pairs import LEFT_OUT
from tasks.messages.job_result import JobResult
from tasks.messages.round_record import RoundRecord

_SIDES = {"federated": "test", "centralised": "test_centralised", "silo_only": "test_silo_only"}


def metric_name(name: str) -> str:
    """Return the name of a metric in MLflow, which allows no "@" in names."""
    return name.replace("@", "_at_")


def deciding_metric(name: str) -> str:
    """Return the name of the deciding metric of the federated model on the test cases."""
    return metric_name(f"quality/{name}")


def metrics_of_round(
    record: RoundRecord, found: Mapping[str, float], seconds: Mapping[str, float]
) -> dict[str, float]:
    """Return a round's numbers by their names in MLflow.

    Args:
        record: the round's record.
        found: its metrics by name, such as "validation/ndcg@10" and "training/loss".
        seconds: wall seconds by activity.
    """
    numbers = {
        **{_of_split(name): value for name, value in found.items()},
        "round/clients_accepted": len(record.accepted),
        "round/clients_rejected": len(record.rejected),
        "round/update_bytes": record.update_bytes or 0,
        **({} if record.download_bytes is None else {"round/download_bytes": record.download_bytes}),
        **({} if record.drift is None else {"round/drift": record.drift}),
        **{f"seconds/{name}": value for name, value in seconds.items()},
    }
    return {metric_name(name): value for name, value in numbers.items()}


def metrics_of_result(result: JobResult) -> dict[str, float]:
    """Return a job's numbers on the test cases and its wall seconds by their names in MLflow."""
    numbers = {
        f"quality/{_SIDES[side]}/{name}": value
        for side, found in result.final.sides().items()
        for name, value in (found or {}).items()
    }
    federated = result.final.federated or {}
    deciding = judgement_of(federated).quality
    if deciding in federated:
        numbers[deciding_metric(deciding)] = federated[deciding]
    if result.left_out and result.left_out.test_cases:
        numbers[f"quality/test/{LEFT_OUT}"] = result.left_out.test / result.left_out.test_cases
    if result.best:
        numbers["quality/validation_best/round"] = result.best.round
        numbers[f"quality/validation_best/{result.best.metric}"] = result.best.value
    numbers |= {
        f"seconds/job/{name.removesuffix('_s')}": value for name, value in result.timings.by_name().items()
    }
    return {metric_name(name): value for name, value in numbers.items()}


def metrics_of_trial(found: Mapping[str, float]) -> dict[str, float]:
    """Return the numbers of one evaluation of a trial, on the validation cases, by their names in MLflow."""
    return {
        metric_name("quality/objective" if name == "objective" else f"quality/validation/{name}"): value
        for name, value in found.items()
    }


def _of_split(name: str) -> str:
    split, _, metric = name.partition("/")
    return f"quality/{name}" if split == "validation" else f"round/{split}_{metric}"
