"""One validation judges the profiles of many clients, and each has the outcome that it has alone."""

import numpy as np
import pandas as pd
import pytest

from data_contracts.interaction_profile import InteractionProfile, profile_interactions
from data_contracts.interactions import InteractionLimits, check_interactions, check_profiles
from data_contracts.rule import bounded
from data_contracts.validation import validate_rows
from models.errors import ContractViolation
from models.kernel.catalog import ItemCatalog

CATALOG = ItemCatalog.of(["a", "b", "c"])
LIMITS = InteractionLimits()
GOOD = {
    "user_id": ["u", "u", "v", "v"],
    "item_id": ["a", "b", "a", "c"],
    "rating": [5.0, 1.0, 3.5, 0.0],
    "timestamp": [0.0, 10.0, 2.0**53, 7.0],
}
# Rule -> the column and the value of row 2 that breaks it, and the reason as a person reads it.
BROKEN = {
    "user_present": ("user_id", None, "user_id present in every row, got 1 of 4 rows in breach (at 2)"),
    "item_present": ("item_id", None, "item_id present in every row, got 1 of 4 rows in breach (at 2)"),
    "item_known": (
        "item_id",
        "zz",
        "every item_id in the job's catalogue, got 1 of 4 rows in breach: zz (at 2)",
    ),
    "pair_once": (
        "user_id",
        "u",
        "each pair of user_id and item_id once, got 2 of 4 rows in breach: u/a (at 0, 2)",
    ),
    "rating_present": ("rating", np.nan, "rating present in every row, got 1 of 4 rows in breach (at 2)"),
    "rating_in_range": (
        "rating",
        10.5,
        "a rating between 0 and 10 (set by contracts.interactions.min_rating and max_rating), "
        "got 1 of 4 rows in breach: 10.5 (at 2)",
    ),
    "timestamp_present": (
        "timestamp",
        np.nan,
        "timestamp present in every row, got 1 of 4 rows in breach (at 2)",
    ),
    "timestamp_in_range": (
        "timestamp",
        -1.0,
        "a timestamp in seconds between 0 and 9.0072e+15 (set by contracts.interactions.min_timestamp and "
        "max_timestamp), got 1 of 4 rows in breach: -1.0 (at 2)",
    ),
}


def frame(rule: str | None = None) -> pd.DataFrame:
    """Return four good interactions, or four of which row 2 breaks the rule."""
    columns = {name: list(values) for name, values in GOOD.items()}
    if rule:
        column, value, _ = BROKEN[rule]
        columns[column][2] = value  # type: ignore[index]
    return pd.DataFrame(columns)


def profile(data: pd.DataFrame, limits: InteractionLimits = LIMITS) -> InteractionProfile:
    columns = {name: data[name].to_numpy(dtype=object if "_id" in name else float) for name in data.columns}
    return profile_interactions(columns, CATALOG, "farmer", limits.ranges)


def test_each_broken_rule_is_found_with_exactly_its_client() -> None:
    """Every rule is broken by one client between good ones, and the shortest client has too few rows."""
    frames = {"short": frame()[:3]}
    for rule in BROKEN:
        frames |= {f"before-{rule}": frame(), rule: frame(rule)}
    limits = InteractionLimits(min_rows=4)
    outcomes = check_profiles({name: profile(each, limits) for name, each in frames.items()}, limits)
    assert list(outcomes) == list(frames)
    found = {name: [str(breach) for breach in each.breaches] for name, each in outcomes.items()}
    assert {name: texts for name, texts in found.items() if texts} == {
        "short": ["enough_rows: requires at least 4 rows (set by contracts.interactions.min_rows), got 3"],
        **{rule: [f"{rule}: requires {text}"] for rule, (_, _, text) in BROKEN.items()},
    }
    assert [name for name, each in outcomes.items() if not each.passed] == [
        name for name in frames if found[name]
    ]
    assert all((each.contract, each.subject) == ("interactions", name) for name, each in outcomes.items())


def test_a_client_has_the_outcome_that_it_has_alone() -> None:
    frames = {"good": frame(), **{rule: frame(rule) for rule in BROKEN}, "empty": frame()[:0]}
    together = check_profiles({name: profile(each) for name, each in frames.items()})
    for name, each in frames.items():
        assert together[name].to_json() == check_interactions(each, CATALOG, name).to_json()


def test_the_first_breach_of_a_client_does_not_hide_its_others() -> None:
    both = frame("rating_in_range")
    both.loc[0, "item_id"] = None
    outcomes = check_profiles({"good": profile(frame()), "bad": profile(both)})
    assert [(each.expectation, each.keys) for each in outcomes["bad"].breaches] == [
        ("item_present", ("0",)),
        ("rating_in_range", ("2",)),
    ]
    assert outcomes["good"].passed


def test_clients_with_other_columns_are_judged_by_their_own_rules() -> None:
    frames = {
        "rated": frame()[["user_id", "item_id", "rating"]],
        "plain": frame()[["user_id", "item_id"]],
        "all": frame(),
        "timed": frame("timestamp_in_range")[["user_id", "item_id", "timestamp"]],
        "plain too": frame("item_known")[["user_id", "item_id"]],
    }
    outcomes = check_profiles({name: profile(each) for name, each in frames.items()})
    assert {name: (each.evaluated, each.passed) for name, each in outcomes.items()} == {
        "rated": (7, True),
        "plain": (5, True),
        "all": (9, True),
        "timed": (7, False),
        "plain too": (5, False),
    }
    assert list(outcomes) == list(frames)


def test_any_name_of_a_client_is_only_a_name() -> None:
    names = ["nan", "", "None", " ", "1", "01", "1.0", "True", "a,b", "O'Brien", '"', "<b>", "ü 漢字", "x\ny"]
    names += ["{0}", "%s", "$PARAMETER", "client_id", "rows", "\\", "\ue000", "-inf", "null", "a" * 5000]
    bad = set(names[::2])
    data = {name: profile(frame("item_known" if name in bad else None)) for name in names}
    outcomes = check_profiles(data)
    assert {name for name, each in outcomes.items() if not each.passed} == bad
    assert [each.subject for each in outcomes.values()] == names


def test_no_client_has_no_outcome() -> None:
    assert check_profiles({}) == {}


def test_facts_are_numbers_of_rows_and_add_up_over_parts_of_the_data() -> None:
    data = pd.concat(
        [frame("item_known"), frame("rating_in_range"), frame("user_present")], ignore_index=True
    )
    # Each part has users of its own.
    data["user_id"] = [user and f"{user}{row // 4}" for row, user in enumerate(data["user_id"].to_list())]
    data.loc[8 + 2, "user_id"] = None
    whole = profile(data).counts()
    assert whole == {
        "rows": 12,
        "user_present_breaches": 1,
        "item_present_breaches": 0,
        "item_known_breaches": 1,
        "pair_once_breaches": 0,
        "rating_present_breaches": 0,
        "rating_in_range_breaches": 1,
        "timestamp_present_breaches": 0,
        "timestamp_in_range_breaches": 0,
    }
    parts = [profile(data[place : place + 4]).counts() for place in (0, 4, 8)]
    assert {name: sum(part[name] for part in parts) for name in whole} == whole


def test_data_that_were_profiled_with_other_limits_are_never_a_pass() -> None:
    """A rating of 10.5 is no breach where the limit is 11, and must not pass where it is 10."""
    wide = profile(frame("rating_in_range"), InteractionLimits(max_rating=11.0))
    assert check_profiles({"ash": wide}, InteractionLimits(max_rating=11.0))["ash"].passed
    with pytest.raises(
        ContractViolation, match="ash could not be evaluated: its data were profiled with other"
    ):
        check_profiles({"birch": profile(frame()), "ash": wide}, LIMITS)


def test_a_fact_that_is_missing_is_never_a_pass() -> None:
    rules = [bounded("few", "faults", "no faults", maximum=0)]
    table = pd.DataFrame({"client_id": ["ash", "birch"], "faults": [0.0, np.nan]})
    with pytest.raises(
        ContractViolation, match="2 clients could not be evaluated: column faults has a missing"
    ):
        validate_rows("interactions", "2 clients", table, rules, "client_id")
    with pytest.raises(ContractViolation, match="column faults is missing"):
        validate_rows("interactions", "2 clients", table[["client_id"]], rules, "client_id")


@pytest.mark.parametrize(
    "values", [["2020", "x"], [np.datetime64("2020-01-01"), np.datetime64("2021-01-01")]]
)
def test_values_that_are_no_numbers_are_never_a_pass(values: list[object]) -> None:
    columns = {name: np.array(["u", "v"], dtype=object) for name in ("user_id", "item_id")}
    columns["timestamp"] = np.array(values)
    with pytest.raises(ContractViolation, match="ash could not be evaluated: rule timestamp_in_range failed"):
        profile_interactions(columns, CATALOG, "ash", LIMITS.ranges)
