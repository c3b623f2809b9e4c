"""The one place that evaluates rules with Great Expectations and turns what it answers into an outcome.

Great Expectations takes 7 s to import and is imported with the first validation, never with this module.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from data_contracts.outcome import Breach, ContractName, ContractOutcome
from data_contracts.rule import Rule
from models.errors import ContractViolation

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
    """The outcome of holding `frame` against `rules`.

    All rules are evaluated in the cheapest form that tells whether they hold. Those that do not are evaluated
    again, which is needed rarely, to learn which rows are in breach.

    Args:
        contract: the suite's name.
        subject: what the frame describes.
        frame: the data; the same thread may validate others before and after.
        rules: the suite; names are unique.
        key: the column whose values name a row in breach.
        listed: how many rows a breach and the result list; None for all.

    Raises:
        ContractViolation: a rule could not be evaluated. That is never taken for a pass.
    """
    missing = sorted({column for rule in rules for column in rule.columns} - set(frame.columns))
    if missing:
        raise not_evaluated(contract, subject, f"column {', '.join(missing)} is missing")
    cheapest = "BASIC" if any(rule.is_measured for rule in rules) else "BOOLEAN_ONLY"
    found = _evaluate(contract, subject, frame, rules, cheapest)
    for rule in rules:
        if not found[rule.name]["result"]:
            found[rule.name]["result"] = _held(rule, len(frame))
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
    """The error for data that could not be evaluated."""
    return ContractViolation(
        f"Contract {contract} for {subject} could not be evaluated: {why}.",
        next_step="Mend the data's form; a contract that cannot be evaluated never counts as passed.",
        contract=contract,
        subject=subject,
        why=why,
    )


def suite_json(contract: ContractName, rules: Sequence[Rule]) -> dict[str, Any]:
    """Great Expectations' own JSON of the suite of these rules."""
    suite: dict[str, Any] = _suite(contract, rules).to_json_dict()
    for expectation in suite["expectations"]:
        expectation.pop("id", None)
    return {name: suite[name] for name in ("name", "meta", "expectations")}


def _evaluate(
    contract: ContractName, subject: str, frame: pd.DataFrame, rules: Sequence[Rule], result_format: Any
) -> dict[str, dict[str, Any]]:
    """Rule name -> its validation result as JSON values."""
    batch = _batch_definition().get_batch({"dataframe": frame})
    answer = batch.validate(_suite(contract, rules), result_format=result_format)
    found: dict[str, dict[str, Any]] = {}
    for result in answer.results:
        one = _finite(result.to_json_dict())
        name = one["expectation_config"]["meta"]["name"]
        reasons = _exceptions(one["exception_info"])
        if reasons:
            raise not_evaluated(contract, subject, f"rule {name} failed with: {'; '.join(reasons)}")
        found[name] = one
    absent = [rule.name for rule in rules if rule.name not in found]
    if absent:
        raise not_evaluated(contract, subject, f"no result came for rule {', '.join(absent)}")
    return found


def _batch_definition() -> Any:
    """This thread's own batch definition: contexts are made once per thread (10 ms) and never shared."""
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
        _local.context = context  # Great Expectations itself holds a context only weakly
        _local.batch_definition = asset.add_batch_definition_whole_dataframe("whole")
    return _local.batch_definition


def _suite(contract: ContractName, rules: Sequence[Rule]) -> Any:
    with _importing:
        from great_expectations import ExpectationSuite

        from data_contracts import expectations

    return ExpectationSuite(
        name=contract,
        expectations=[
            getattr(expectations, rule.kind)(
                **rule.kwargs,
                description=f"Requires {rule.required}",
                meta={"name": rule.name},
            )
            for rule in rules
        ],
    )


def _exceptions(info: Mapping[str, Any]) -> list[str]:
    """Messages of all exceptions in an `exception_info`, which is flat or nested per metric id."""
    if "raised_exception" in info:
        return [str(info.get("exception_message"))] if info["raised_exception"] else []
    messages = [text for one in info.values() if isinstance(one, Mapping) for text in _exceptions(one)]
    return sorted(set(messages))


def _held(rule: Rule, rows: int) -> dict[str, Any]:
    """What Great Expectations reports of a rule that holds, where it was asked only whether it does."""
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
    text = f"{details['unexpected_count']} of {details['element_count']} rows otherwise"
    values = list(dict.fromkeys(map(_shown, details.get("partial_unexpected_list") or ())))
    if not values or values in (["None"], ["False"]):
        return text
    more = ", ..." if len(values) > _SHOWN_VALUES else ""
    return f"{text}: {', '.join(values[:_SHOWN_VALUES])}{more}"


def _shown(value: Any) -> str:
    return "/".join(map(str, value.values())) if isinstance(value, Mapping) else str(value)


def _trimmed(result: dict[str, Any], listed: int | None) -> dict[str, Any]:
    """The result with each of its lists cut to `listed`, and without what a repetition would change."""
    details = {
        name: value[:listed] if isinstance(value, list) else value
        for name, value in result["result"].items()
        if name != "unexpected_index_query"
    }
    config = result["expectation_config"]
    kwargs = {name: value for name, value in config["kwargs"].items() if name != "batch_id"}
    return {**result, "result": details, "expectation_config": {**config, "kwargs": kwargs}}


def _suite_result(contract: ContractName, results: list[dict[str, Any]]) -> dict[str, Any]:
    """Great Expectations' JSON form of a suite's result, without times, so that a repetition is equal."""
    held = sum(bool(one["success"]) for one in results)
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
    """The JSON value with NaN and infinity as text, because JSON has no numbers for them."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return value
