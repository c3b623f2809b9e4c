"""The one place that calls Great Expectations: nothing unevaluated passes, and threads do not mix."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_contracts import validation
from data_contracts.rule import Rule, between, mean_between, one_of, row_count, unique
from data_contracts.validation import validate
from models.errors import ContractViolation


def test_importing_the_contracts_does_not_import_great_expectations() -> None:
    code = (
        "import sys, data_contracts.interactions, data_contracts.updates, data_contracts.embeddings, "
        "data_contracts.snapshots, tasks.reports.data_docs; print('great_expectations' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_exceptions_are_found_flat_and_nested_per_metric() -> None:
    held = {"raised_exception": False, "exception_message": None, "exception_traceback": None}
    flat = {"raised_exception": True, "exception_message": "no such column", "exception_traceback": "..."}
    assert validation._exceptions(held) == []
    assert validation._exceptions({}) == []
    assert validation._exceptions(flat) == ["no such column"]
    assert validation._exceptions({"('metric', 'id')": flat, "('other', 'id')": held}) == ["no such column"]


def test_a_rule_whose_argument_is_wrong_is_never_a_pass() -> None:
    broken = Rule("mean", "ExpectMeanBetween", "a mean of a text", {"column": "x", "min_value": 0})
    with pytest.raises(ContractViolation, match="rule mean failed"):
        validate("updates", "round-1", pd.DataFrame({"x": ["a", "b"]}), [broken], key="x")


def test_a_mean_of_no_values_is_a_breach() -> None:
    rules = [mean_between("mean", "x", 0.0, 1.0, "a mean")]
    outcome = validate("updates", "round-1", pd.DataFrame({"x": [np.nan, np.nan]}), rules, key="x")
    assert [breach.expectation for breach in outcome.breaches] == ["mean"]


def test_results_are_in_the_order_of_the_suite() -> None:
    frame = pd.DataFrame({"x": [2.0, 2.0], "key": [0, 1]})
    rules = [
        unique("once", "x"),
        row_count("rows", 3),
        one_of("there", "x", [2.0], "an x of 2"),
        between("range", "x", 0.0, 1.0, "an x"),
    ]
    outcome = validate("updates", "round-1", frame, rules, key="key")
    names = [one["expectation_config"]["meta"]["name"] for one in outcome.result["results"]]
    assert names == ["once", "rows", "there", "range"]
    assert [breach.expectation for breach in outcome.breaches] == ["once", "rows", "range"]
    assert outcome.result["statistics"] == {
        "evaluated_expectations": 4,
        "successful_expectations": 1,
        "unsuccessful_expectations": 3,
        "success_percent": 25.0,
    }


def test_a_rule_that_holds_reports_what_great_expectations_would() -> None:
    """Rules that hold are evaluated without details. Their results must equal those with all details."""
    import great_expectations as gx

    frame = pd.DataFrame({"x": [1.0, 2.0], "key": [0, 1]})
    rules = [
        row_count("rows", 1),
        between("range", "x", 0.0, 9.0, "an x"),
        one_of("set", "key", [0, 1], "keys"),
    ]
    ours = validate("updates", "round-1", frame, rules, key="key").result["results"]
    context = gx.get_context(mode="ephemeral")
    asset = context.data_sources.add_pandas("p").add_dataframe_asset("a")
    batch = asset.add_batch_definition_whole_dataframe("b").get_batch({"dataframe": frame})
    theirs = [
        batch.validate(expectation, result_format="BASIC").to_json_dict()["result"]
        for expectation in (
            gx.expectations.ExpectTableRowCountToBeBetween(min_value=1),
            gx.expectations.ExpectColumnValuesToBeBetween(column="x", min_value=0.0, max_value=9.0),
            gx.expectations.ExpectColumnValuesToBeInSet(column="key", value_set=[0, 1]),
        )
    ]
    for one, other in zip(ours, theirs, strict=True):
        assert one["result"].items() <= other.items()
        assert one["result"]


def test_eight_threads_each_get_the_answer_for_their_own_frame() -> None:
    rules = [row_count("rows", 1), between("range", "x", 0.0, 9.0, "an x"), unique("once", "key")]

    def check(number: int) -> list[tuple[str, tuple[str, ...]]]:
        frame = pd.DataFrame({"x": [1.0] * 12, "key": [f"{number}-{row}" for row in range(12)]})
        if number % 3:
            frame.loc[number % 12, "x"] = 10.0
        outcome = validate("updates", f"round-{number}", frame, rules, key="key")
        assert outcome.subject == f"round-{number}"
        return [(breach.expectation, breach.keys) for breach in outcome.breaches]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(check, range(48)))
    assert found == [[("range", (f"{n}-{n % 12}",))] if n % 3 else [] for n in range(48)]


def test_a_validation_writes_and_prints_nothing(tmp_path: Path) -> None:
    code = (
        "import pandas as pd\n"
        "from data_contracts.interactions import check_interactions\n"
        "from models.kernel.catalog import ItemCatalog\n"
        "frame = pd.DataFrame({'user_id': ['u'], 'item_id': ['a']})\n"
        "assert check_interactions(frame, ItemCatalog.of(['a']), 'farmer').passed\n"
    )
    environment = {**os.environ, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=environment,
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_setting_a_field_renews_the_configuration_of_an_expectation() -> None:
    from data_contracts.expectations import EXPECTATIONS

    expectation = EXPECTATIONS["ExpectValuesBetween"](column="x", max_value=1.0)
    assert expectation.configuration is expectation.configuration
    expectation.max_value = 2.0
    assert expectation.configuration.kwargs == {"column": "x", "max_value": 2.0}
    other = EXPECTATIONS["ExpectValuesBetween"](column="y", min_value=3.0)
    assert other.configuration.kwargs == {"column": "y", "min_value": 3.0}
