"""A silo in secure sums: its owner sees its comparison, and nobody else unless the owner publishes it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from models.evaluation.benefit import DIFFERENCE, SQUARED_DIFFERENCE
from models.kernel.metric import Metric
from tasks.clients.comparisons import keep_comparison
from tasks.clients.evaluate import compare_client
from tasks.messages.answers import ClientEvaluation, SumAnswer
from tasks.silos.own_benefit import own_comparisons
from tests.worlds.sums.summing_silos import NAMES, SummingSilos

COMPARE = "compare-000001"


@pytest.fixture
def silos(tmp_path: Path) -> SummingSilos:
    return SummingSilos.below(tmp_path)


def compared(silos: SummingSilos) -> SumAnswer:
    """Return the answer of "ash", after all have prepared the sum."""
    protocol = silos.prepared(sum_id=COMPARE)
    asked = silos.sum_order(protocol.mask_request("ash"), sum_id=COMPARE)
    answer = silos.ask("compare", "ash", asked, round_=1)
    assert set(answer.messages) == {COMPARE}
    return answer


def test_the_owner_sees_what_nobody_else_can_read(silos: SummingSilos) -> None:
    answer = compared(silos)
    assert answer.published is None
    (found,) = own_comparisons(silos.silos["ash"].home.silos / "ash")
    plain = replace(silos.order("compare", "ash", None, 1).order, sum=None)
    expected = compare_client(plain, 2)
    assert (found.job_id, found.round) == ("job-1", 1)
    assert found.common == {name: each.value for name, each in expected.metrics.items()}
    assert found.alone == {name: each.value for name, each in expected.alone.items()}
    (entry,) = [each for each in silos.entries("ash") if each["what"].startswith("compare")]
    assert not any("published" in each for each in entry["fields"])
    assert entry["treatment"] == "masked among 4 members"
    assert own_comparisons(silos.silos[NAMES[1]].home.silos / NAMES[1]) == []


def test_an_owner_can_publish_the_comparison(silos: SummingSilos) -> None:
    silos.silos["ash"] = replace(silos.silos["ash"], publish=("benefit",))
    published = compared(silos).published
    assert published is not None
    (found,) = own_comparisons(silos.silos["ash"].home.silos / "ash")
    assert {name: each.value for name, each in published.metrics.items()} == found.common
    assert {name: each.value for name, each in published.alone.items()} == found.alone
    assert published.client_id == "ash"
    # The ledger says that figures left readable.
    (entry,) = [each for each in silos.entries("ash") if each["what"].startswith("compare")]
    assert "published.benefit.benefit.total" in entry["fields"]
    assert entry["treatment"] == "masked among 4 members, published.* readable"


def test_a_comparison_without_cases_compares_nothing(tmp_path: Path) -> None:
    none = Metric(0.0, 0.0)
    sums = {DIFFERENCE: none, SQUARED_DIFFERENCE: none}
    found = ClientEvaluation("ash", {"ndcg@10": none}, {"ndcg@10": none}, sums, sums, 0.0, 1.0, 0.5)
    keep_comparison(tmp_path, "job-1", 1, found)
    assert own_comparisons(tmp_path) == []
    one = replace(found, benefit=dict.fromkeys(sums, Metric(0.5, 1.0)))
    keep_comparison(tmp_path, "job-1", 1, one)
    assert [each.benefit.cases for each in own_comparisons(tmp_path)] == [1]
