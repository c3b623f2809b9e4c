"""Sums that can be added across clients, by hand arithmetic."""

from __future__ import annotations

import json
import math

import pytest

from models.kernel.metric import Metric, as_json, metric_from_client, total, values


def test_the_mean_over_clients_is_the_ratio_of_the_sums():
    # 3 of 4 and 0 of 2: the mean over the six cases is 3/6, not the mean of 3/4 and 0.
    assert (Metric(3.0, 4.0) + Metric(0.0, 2.0)).value == 0.5
    assert math.isnan(Metric(0.0, 0.0).value)


def test_total_adds_each_metric_over_the_clients_that_have_it():
    clients = [{"hr": Metric(1.0, 2.0)}, {}, {"hr": Metric(2.0, 2.0), "ndcg": Metric(0.5, 2.0)}]
    assert total(clients) == {"hr": Metric(3.0, 4.0), "ndcg": Metric(0.5, 2.0)}
    assert total([]) == {}


def test_means_survive_json_and_leave_out_metrics_without_cases():
    stored = json.loads(json.dumps(as_json({"hr": Metric(3.0, 4.0), "empty": Metric(0.0, 0.0)})))
    assert stored == {"hr": {"total": 3.0, "weight": 4.0}, "empty": {"total": 0.0, "weight": 0.0}}
    assert values(stored) == {"hr": pytest.approx(0.75)}


@pytest.mark.parametrize(
    ("name", "total", "weight"),
    [
        ("ndcg@10", 3.5, 9.0),
        ("difference", -2.0, 4.0),
        ("accuracy_within_1", 0.0, 0.0),
        ("rmse", 0.0, 1e15),
    ],
)
def test_a_client_s_metric_is_taken_as_it_is(name, total, weight):
    assert metric_from_client(name, total, weight) == Metric(total, weight)


def test_noise_may_make_a_weight_negative_and_then_there_is_no_value():
    noisy = metric_from_client("ndcg@10", -0.5, -3.0, is_noisy=True)

    assert noisy == Metric(-0.5, -3.0)
    assert values(as_json({"ndcg@10": noisy, "hr@10": Metric(1.0, 2.0)})) == {"hr@10": 0.5}
    for weight in (-1e-10, -1e16, float("nan")):
        with pytest.raises(ValueError, match="a metric"):
            metric_from_client("ndcg@10", 1.0, weight, is_noisy=True)


@pytest.mark.parametrize(
    ("name", "total", "weight"),
    [
        # Each of these ends a job after its round is committed: as a name that MLflow refuses, as the root of
        # a negative number, or as a sum or mean that JSON cannot hold.
        ("a\n$", 1.0, 1.0),
        ("../a", 1.0, 1.0),
        ("", 1.0, 1.0),
        ("n" * 65, 1.0, 1.0),
        ("rmse", -1.0, 1.0),
        ("loss", 1.7e308, 1.0),
        ("loss", 1.0, 1e-10),
        ("loss", 1.0, -1.0),
        ("loss", float("nan"), 1.0),
        ("loss", 1.0, float("nan")),
        ("loss", 1.0, float("inf")),
    ],
)
def test_a_client_s_metric_that_would_spoil_the_sum_is_refused(name, total, weight):
    with pytest.raises(ValueError, match="a metric"):
        metric_from_client(name, total, weight)
