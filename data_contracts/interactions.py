"""The interactions contract, which a client's data must pass before training.

Breach policy: the client is rejected for the round, the reason is recorded, and the round goes on without it.
Data that cannot be evaluated (a missing column, a column of mixed types) are treated the same.

Each client's data are profiled where they are (`interaction_profile`). One validation judges the profiles of
all clients, one row each, and each client gets an outcome of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from data_contracts.interaction_profile import (
    OPTIONAL_COLUMNS,
    REQUIRED_COLUMNS,
    Finding,
    InteractionProfile,
    Range,
    breaches_column,
    profile_interactions,
)
from data_contracts.outcome import Breach, ContractOutcome
from data_contracts.rule import Rule, at_least_rows, bounded, in_range, unbroken
from data_contracts.validation import RowVerdicts, not_evaluated, observed, outcome_of, validate_rows
from models.kernel.catalog import ItemCatalog

if TYPE_CHECKING:
    import pandas as pd


# Of a job's configuration.
_SECTION = "contracts.interactions"


@dataclass(frozen=True)
class InteractionLimits:
    """The limits of the interactions contract. None depends on a clock, so outcomes are reproducible.

    Attributes:
        min_rows: least number of interactions.
        min_rating, max_rating: range of a rating, both ends included.
        min_timestamp, max_timestamp: range of a timestamp in seconds since 1970 (UTC), both ends included.
    """

    min_rows: int = 1
    min_rating: float = 0.0
    max_rating: float = 10.0
    min_timestamp: int = 0
    max_timestamp: int = 2**53

    @property
    def ranges(self) -> dict[str, Range]:
        """Return the limits of each optional column."""
        return {
            "rating": (self.min_rating, self.max_rating),
            "timestamp": (self.min_timestamp, self.max_timestamp),
        }


def interaction_rules(limits: InteractionLimits, columns: Collection[str]) -> tuple[Rule, ...]:
    """Return the suite for profiles of data with these columns; rating and timestamp are optional."""
    enough = at_least_rows(limits.min_rows, f"{_SECTION}.min_rows")
    rules = [
        bounded("enough_rows", "rows", enough, minimum=limits.min_rows),
        _unbroken("user_present", "user_id present in every row"),
        _unbroken("item_present", "item_id present in every row"),
        _unbroken("item_known", "every item_id in the job's catalogue"),
        _unbroken("pair_once", "each pair of user_id and item_id once"),
    ]
    for name, what in (("rating", "a rating"), ("timestamp", "a timestamp in seconds")):
        if name in columns:
            lowest, highest = limits.ranges[name]
            text = in_range(what, lowest, highest, f"{_SECTION}.min_{name} and max_{name}")
            counted = {"min_value": lowest, "max_value": highest}
            rules.append(_unbroken(f"{name}_present", f"{name} present in every row"))
            rules.append(_unbroken(f"{name}_in_range", text, counted))
    return tuple(rules)


def check_profiles(
    profiles: Mapping[str, InteractionProfile], limits: InteractionLimits = InteractionLimits()
) -> dict[str, ContractOutcome]:
    """Check the interactions of many clients against the contract, in one validation.

    Clients whose data have other optional columns have other rules, and so a validation of their own.

    Args:
        profiles: client id -> profile of its interactions.
        limits: the contract's limits, with which the profiles were made.

    Returns:
        Client id -> its outcome, in the order of `profiles`. A breach's keys are row numbers, counted from
        0 in the order of the client's data.

    Raises:
        ContractViolation: an expectation could not be evaluated, or a profile was made with other limits.
    """
    import pandas as pd

    alike: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for client_id, profile in profiles.items():
        if any(limits.ranges[name] != range_ for name, range_ in profile.ranges.items()):
            raise not_evaluated("interactions", client_id, "its data were profiled with other limits")
        alike[tuple(profile.ranges)].append(client_id)
    outcomes: dict[str, ContractOutcome] = {}
    for columns, client_ids in alike.items():
        rules = interaction_rules(limits, columns)
        facts = pd.DataFrame([{"client_id": each} | profiles[each].counts() for each in client_ids])
        verdicts = validate_rows("interactions", f"{len(client_ids)} clients", facts, rules, "client_id")
        for client_id in client_ids:
            outcomes[client_id] = _outcome(client_id, profiles[client_id], rules, verdicts)
    return {client_id: outcomes[client_id] for client_id in profiles}


def check_interactions(
    frame: pd.DataFrame,
    catalog: ItemCatalog,
    client_id: str,
    limits: InteractionLimits = InteractionLimits(),
) -> ContractOutcome:
    """Check one client's interactions against the contract.

    Args:
        frame: user_id and item_id (strings), optional rating (float) and timestamp (int64 seconds).
        catalog: the job's items.
        client_id: the client that the data belong to; the outcome's subject.
        limits: the contract's limits.

    Returns:
        The outcome, as `check_profiles` returns it.

    Raises:
        ContractViolation: an expectation could not be evaluated, for example because a column is missing.
    """
    columns = {
        name: frame[name].to_numpy(dtype=object if name in REQUIRED_COLUMNS else None)
        for name in (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS)
        if name in frame.columns
    }
    profile = profile_interactions(columns, catalog, client_id, limits.ranges)
    return check_profiles({client_id: profile}, limits)[client_id]


def _unbroken(name: str, required: str, counted: Mapping[str, float] | None = None) -> Rule:
    return unbroken(name, breaches_column(name), required, counted)


def _outcome(
    client_id: str,
    profile: InteractionProfile,
    rules: Sequence[Rule],
    verdicts: Mapping[str, RowVerdicts],
) -> ContractOutcome:
    """Return the client's part of a validation, with the rows that its profile lists."""
    results, breaches = [], []
    for rule in rules:
        verdict, finding = verdicts[rule.name], profile.findings.get(rule.name)
        details = {"observed_value": profile.rows} if finding is None else _details(finding, profile.rows)
        holds = client_id not in verdict.broken_by
        results.append({**verdict.result, "success": holds, "result": details})
        if not holds:
            found = finding or Finding(None, 0)
            breaches.append(
                Breach(
                    expectation=rule.name,
                    column=found.column,
                    observed=observed(details),
                    required=rule.required,
                    keys=tuple(map(str, found.rows)),
                    count=found.count,
                )
            )
    return outcome_of("interactions", client_id, results, breaches)


def _details(finding: Finding, rows: int) -> dict[str, Any]:
    """Return a finding in the form in which Great Expectations describes rows in breach."""
    found = {
        "element_count": rows,
        "unexpected_count": finding.count,
        "unexpected_percent": 100.0 * finding.count / rows if rows else 0.0,
        "partial_unexpected_list": list(finding.values),
    }
    return (
        found | {"unexpected_index_list": [{"row": row} for row in finding.rows]} if finding.rows else found
    )
