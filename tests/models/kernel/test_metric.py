"""Sums that can be added across clients, by hand arithmetic."""

from __future__ import annotations

import json
import math

import pytest

from models.kernel.metric import Metric, as_json, total, values


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
