"""The privacy table: its rows, its floors and its picture, of a small world of two tastes."""

from __future__ import annotations

import pytest

from models.errors import InvalidInput
from tasks.bench.privacy.arms import ARMS, PrivateSpecs
from tasks.bench.privacy.markdown import BEGIN, END, put_table, table
from tasks.bench.privacy.picture import picture
from tasks.bench.privacy.table_rows import EXACT, SHOWN, privacy_rows
from tasks.datasets.partition_reader import open_partition


@pytest.fixture(scope="module")
def rows(popular_dir):
    partition = open_partition(popular_dir)
    said = []
    found = list(
        privacy_rows(
            partition,
            specs=PrivateSpecs(),
            epsilons=[0.01, 1000.0],
            delta=1e-3,
            seeds=[1, 2],
            part="validation",
            announce=said.append,
        )
    )
    assert said == [*(f"epsilon {each}: {arm}" for each in ("0.01", "1000") for arm in ARMS), EXACT]
    return found


def test_each_recommender_has_a_row_for_each_epsilon_and_metric(rows):
    keys = [(row["arm"], row["epsilon"], row["metric"]) for row in rows]
    assert len(set(keys)) == len(keys)
    assert set(keys) == {
        *((arm, epsilon, metric) for arm in ARMS for epsilon in (0.01, 1000.0) for metric in SHOWN),
        *((EXACT, None, metric) for metric in SHOWN),
    }
    for row in rows:
        assert row["low"] <= row["value"] <= row["high"]


def test_less_noise_makes_better_lists(rows):
    values = {(row["arm"], row["epsilon"], row["metric"]): row["value"] for row in rows}
    for arm in ARMS:
        assert values[arm, 1000.0, "loo_ndcg@10"] > values[arm, 0.01, "loo_ndcg@10"]


def test_the_table_lies_between_its_marks(rows, tmp_path):
    document = tmp_path / "privacy.md"
    document.write_text("\n".join(["before", BEGIN, "old", END, "after"]))
    put_table(document, rows)
    text = document.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter") and "old" not in text
    assert table(rows) in text
    assert "| 1000 | " in text and f"| - | - | {EXACT} | " in text
    document.write_text("no marks")
    with pytest.raises(InvalidInput):
        put_table(document, rows)


def test_the_picture_is_the_same_svg_each_time(rows):
    drawn = picture(rows)
    assert drawn == picture(rows)
    assert drawn.count("<svg") == 1 and drawn.rstrip().endswith("</svg>")
    for label in (*ARMS, EXACT):
        assert f">{label}<" in drawn
