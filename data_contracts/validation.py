"""Validation of rules with Great Expectations, whose results become an outcome. Only this module calls it.

Importing Great Expectations takes 7 s. The first validation imports it, not this module.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from data_contracts.outcome import Breach, ContractName, ContractOutcome
from data_contracts.rule import Rule
from models.errors import ContractViolation

if TYPE_CHECKING:
    import pandas as pd


LISTED = 20
_SHOWN_VALUES = 5

_importing = threading.Lock()
_local = threading.local()


def validate(
    contract: ContractName,
    subject: str,
    frame: pd.DataFrame,
    rules: Sequence[Rule],
    key: str,
    *,
    listed: int | None = LISTED,
) -> ContractOutcome:
    """Check `frame` against `rules`.

    First, all rules are evaluated in the cheapest way that shows whether they hold. Rules that do not hold,
    which is rare, are evaluated again to find the rows in breach.

    Args:
        contract: name of the suite.
        subject: what the frame describes.
        frame: the data.
        rules: the suite, with unique names.
        key: the column whose values identify a row in breach.
        listed: number of rows that a breach and the result list; None for all.

    Raises:
        ContractViolation: a rule could not be evaluated, which never counts as passed.
    """
    missing = sorted({column for rule in rules for column in rule.columns} - set(frame.columns))
    if missing:
        raise not_evaluated(contract, subject, f"column {', '.join(missing)} is missing")
    cheapest = "BASIC" if any(rule.is_measured for rule in rules) else "BOOLEAN_ONLY"
    found = _evaluate(contract, subject, frame, rules, cheapest)
    for rule in rules:
        if not found[rule.name]["result"]:
            found[rule.name]["result"] = _passed_details(rule, len(frame))
    broken = [rule for rule in rules if not found[rule.name]["success"]]
    if broken:
        detailed = {"result_format": "COMPLETE", "unexpected_index_column_names": [key]}
        found |= _evaluate(contract, subject, frame, broken, detailed)
    breaches = tuple(_breach(rule, found[rule.name], key, listed) for rule in broken)
    return ContractOutcome(
        contract=contract,
        subject=subject,
        passed=not breaches,
        breaches=breaches,
        evaluated=len(rules),
        result=_suite_result(contract, [_trimmed(found[rule.name], listed) for rule in rules]),
    )


def not_evaluated(contract: ContractName, subject: str, why: str) -> ContractViolation:
    """Return the error for data that could not be evaluated."""
    return ContractViolation(
        f"Contract {contract} for {subject} could not be evaluated: {why}.",
        next_step="Correct the data's format; a contract that cannot be evaluated never counts as passed.",
        contract=contract,
        subject=subject,
        why=why,
    )


def suite_json(contract: ContractName, rules: Sequence[Rule]) -> dict[str, Any]:
    """Return the suite of these rules in Great Expectations' JSON form."""
    suite: dict[str, Any] = _suite(contract, rules).to_json_dict()
    for expectation in suite["expectations"]:
        expectation.pop("id", None)
    return {name: suite[name] for name in ("name", "meta", "expectations")}


def _evaluate(
    contract: ContractName, subject: str, frame: pd.DataFrame, rules: Sequence[Rule], result_format: Any
) -> dict[str, dict[str, Any]]:
    """Return rule name -> its validation result as JSON values."""
    batch = _batch_definition().get_batch({"dataframe": frame})
    validation = batch.validate(_suite(contract, rules), result_format=result_format)
    found: dict[str, dict[str, Any]] = {}
    for each in validation.results:
        result = _finite(each.to_json_dict())
        name = result["expectation_config"]["meta"]["name"]
        reasons = _exceptions(result["exception_info"])
        if reasons:
            raise not_evaluated(contract, subject, f"rule {name} failed with: {'; '.join(reasons)}")
        found[name] = result
    absent = [rule.name for rule in rules if rule.name not in found]
    if absent:
        raise not_evaluated(contract, subject, f"rule {', '.join(absent)} has no result")
    return found


def _batch_definition() -> Any:
    """Return this thread's batch definition. Each thread makes its own context once (10 ms)."""
    if not hasattr(_local, "batch_definition"):
        with _importing:
            import great_expectations as gx
            from great_expectations.data_context.types.base import (
                DataContextConfig,
                InMemoryStoreBackendDefaults,
                ProgressBarsConfig,
            )

        settings = DataContextConfig(
            analytics_enabled=False,
            progress_bars=ProgressBarsConfig(globally=False),
            store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        )
        context = gx.get_context(mode="ephemeral", project_config=settings)
        asset = context.data_sources.add_pandas("pandas").add_dataframe_asset("frame")
        _local.context = context  # Great Expectations keeps only a weak reference
        _local.batch_definition = asset.add_batch_definition_whole_dataframe("whole")
    return _local.batch_definition


def _suite(contract: ContractName, rules: Sequence[Rule]) -> Any:
    with _importing:
        from great_expectations import ExpectationSuite

        from data_contracts.expectations import EXPECTATIONS

    return ExpectationSuite(
        name=contract,
        expectations=[
            EXPECTATIONS[rule.kind](
                **rule.kwargs,
                description=f"Requires {rule.required}",
                meta={"name": rule.name},
            )
            for rule in rules
        ],
    )


def _exceptions(info: Mapping[str, Any]) -> list[str]:
    """Return the messages of all exceptions in an `exception_info`, which is flat or nested by metric id."""
    if "raised_exception" in info:
        return [str(info.get("exception_message"))] if info["raised_exception"] else []
    messages = [
        text for nested in info.values() if isinstance(nested, Mapping) for text in _exceptions(nested)
    ]
    return sorted(set(messages))


def _passed_details(rule: Rule, rows: int) -> dict[str, Any]:
    """Return the details of a rule that holds, which Great Expectations leaves out of a Boolean result."""
    if rule.kind == "ExpectRowCountBetween":
        return {"observed_value": rows}
    return {
        "element_count": rows,
        "unexpected_count": 0,
        "unexpected_percent": 0.0,
        "partial_unexpected_list": [],
    }


def _breach(rule: Rule, result: Mapping[str, Any], key: str, listed: int | None) -> Breach:
    details = result["result"]
    rows = [str(row[key]) for row in details.get("unexpected_index_list") or ()]
    return Breach(
        expectation=rule.name,
        column=rule.columns[0] if len(rule.columns) == 1 else None,
        observed=_observed(details),
        required=rule.required,
        keys=tuple(rows if listed is None else rows[:listed]),
        count=len(rows),
    )


def _observed(details: Mapping[str, Any]) -> str:
    if "observed_value" in details:
        return str(details["observed_value"])
    text = f"{details['unexpected_count']} of {details['element_count']} rows in breach"
    values = list(dict.fromkeys(map(_shown, details.get("partial_unexpected_list") or ())))
    if not values or values in (["None"], ["False"]):
        return text
    more = ", ..." if len(values) > _SHOWN_VALUES else ""
    return f"{text}: {', '.join(values[:_SHOWN_VALUES])}{more}"


def _shown(value: Any) -> str:
    return "/".join(map(str, value.values())) if isinstance(value, Mapping) else str(value)


def _trimmed(result: dict[str, Any], listed: int | None) -> dict[str, Any]:
    """Return the result with its lists cut to `listed`, and without values that differ in a repetition."""
    details = {
        name: value[:listed] if isinstance(value, list) else value
        for name, value in result["result"].items()
        if name != "unexpected_index_query"
    }
    config = result["expectation_config"]
    kwargs = {name: value for name, value in config["kwargs"].items() if name != "batch_id"}
    return {**result, "result": details, "expectation_config": {**config, "kwargs": kwargs}}


def _suite_result(contract: ContractName, results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a suite's result in Great Expectations' JSON form, without times, so repetitions are equal."""
    held = sum(bool(result["success"]) for result in results)
    return {
        "success": held == len(results),
        "results": results,
        "suite_name": contract,
        "suite_parameters": {},
        "statistics": {
            "evaluated_expectations": len(results),
            "successful_expectations": held,
            "unsuccessful_expectations": len(results) - held,
            "success_percent": 100.0 * held / len(results),
        },
        "meta": {},
    }


def _finite(value: Any) -> Any:
    """Return the JSON value with NaN and infinity as text, because JSON has no numbers for them."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return value
