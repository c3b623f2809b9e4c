"""The interactions contract: one good frame, and for each expectation a frame that breaks it alone."""

import numpy as np
import pandas as pd
import pytest

from data_contracts.interactions import InteractionLimits, check_interactions, interaction_rules
from models.errors import ContractViolation
from models.kernel.catalog import ItemCatalog

CATALOG = ItemCatalog.of(["a", "b", "c"])


def good() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "user_id": ["u", "u", "v", "v"],
            "item_id": ["a", "b", "a", "c"],
            "rating": [5.0, 1.0, 3.5, 0.0],
            "timestamp": [0, 10, 2**53, 7],
        }
    )


def with_value(column: str, row: int, value: object) -> pd.DataFrame:
    frame = good().astype({column: object})
    frame.loc[row, column] = value
    return frame if column.endswith("_id") else frame.astype({column: float})


def repeated() -> pd.DataFrame:
    return pd.concat([good(), good().iloc[[1]]], ignore_index=True)


# Expectation -> (a frame that breaks it alone, the rows in breach, part of what was observed).
BREACHES = {
    "enough_rows": (good().iloc[:0], (), "0"),
    "user_present": (with_value("user_id", 2, None), ("2",), "1 of 4"),
    "item_present": (with_value("item_id", 1, None), ("1",), "1 of 4"),
    "item_known": (with_value("item_id", 3, "zz"), ("3",), "zz"),
    "pair_once": (repeated(), ("1", "4"), "u/b"),
    "rating_present": (with_value("rating", 0, None), ("0",), "1 of 4"),
    "rating_in_range": (with_value("rating", 2, 10.5), ("2",), "10.5"),
    "timestamp_present": (with_value("timestamp", 3, None), ("3",), "1 of 4"),
    "timestamp_in_range": (with_value("timestamp", 1, -1), ("1",), "-1"),
}


def test_a_good_frame_passes_every_expectation() -> None:
    outcome = check_interactions(good(), CATALOG, "farmer")
    assert (outcome.contract, outcome.subject, outcome.passed) == ("interactions", "farmer", True)
    assert outcome.breaches == ()
    assert outcome.evaluated == len(BREACHES) == len(outcome.result["results"])


def test_every_expectation_has_a_frame_that_breaks_it() -> None:
    names = [rule.name for rule in interaction_rules(InteractionLimits(), ["rating", "timestamp"])]
    assert names == list(BREACHES)


@pytest.mark.parametrize("name", BREACHES)
def test_a_frame_breaks_exactly_one_expectation(name: str) -> None:
    frame, keys, observed = BREACHES[name]
    outcome = check_interactions(frame, CATALOG, "farmer")
    assert not outcome.passed
    assert [breach.expectation for breach in outcome.breaches] == [name]
    assert outcome.breaches[0].keys == keys
    assert outcome.breaches[0].count == len(keys)
    assert observed in outcome.breaches[0].observed


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_an_infinite_rating_is_out_of_range(value: float) -> None:
    outcome = check_interactions(with_value("rating", 1, value), CATALOG, "farmer")
    assert [breach.expectation for breach in outcome.breaches] == ["rating_in_range"]
    assert str(value) in outcome.to_json()


def test_ratings_and_timestamps_are_optional() -> None:
    outcome = check_interactions(good()[["user_id", "item_id"]], CATALOG, "farmer")
    assert outcome.passed
    assert outcome.evaluated == 5


def test_limits_are_inclusive_and_can_be_set() -> None:
    limits = InteractionLimits(min_rows=4, min_rating=0.0, max_rating=5.0, max_timestamp=2**53)
    assert check_interactions(good(), CATALOG, "farmer", limits).passed
    tighter = InteractionLimits(min_rows=5, max_rating=4.9, max_timestamp=2**53 - 1)
    names = [b.expectation for b in check_interactions(good(), CATALOG, "farmer", tighter).breaches]
    assert names == ["enough_rows", "rating_in_range", "timestamp_in_range"]


def test_all_rows_in_breach_are_counted_and_twenty_are_listed() -> None:
    frame = pd.DataFrame({"user_id": "u", "item_id": [f"x{i}" for i in range(50)]})
    outcome = check_interactions(frame, CATALOG, "farmer")
    (breach,) = outcome.breaches
    assert breach.keys == tuple(str(row) for row in range(20))
    assert breach.count == 50
    lists = [v for one in outcome.result["results"] for v in one["result"].values() if isinstance(v, list)]
    assert max(map(len, lists)) == 20


def test_row_numbers_count_from_zero_whatever_the_index_of_the_frame() -> None:
    frame = with_value("item_id", 3, "zz").set_index(pd.Index([9, 9, 9, 9]))
    assert check_interactions(frame, CATALOG, "farmer").breaches[0].keys == ("3",)


def test_the_frame_is_not_changed() -> None:
    frame = good()
    check_interactions(frame, CATALOG, "farmer")
    pd.testing.assert_frame_equal(frame, good())


@pytest.mark.parametrize("column", ["user_id", "item_id"])
def test_a_missing_column_is_never_a_pass(column: str) -> None:
    with pytest.raises(ContractViolation, match=f"farmer could not be evaluated.*{column}"):
        check_interactions(good().drop(columns=column), CATALOG, "farmer")


def test_a_column_that_cannot_be_compared_is_never_a_pass() -> None:
    frame = good().assign(rating=["five", "one", "two", "none"])
    with pytest.raises(ContractViolation, match="rule rating_in_range failed") as caught:
        check_interactions(frame, CATALOG, "farmer")
    assert caught.value.subject == "farmer"
    assert caught.value.exit_code == 5


def test_a_repeated_validation_gives_the_same_bytes() -> None:
    frame = with_value("item_id", 3, "zz")
    first, second = (check_interactions(frame, CATALOG, "farmer").to_json() for _ in range(2))
    assert first == second
