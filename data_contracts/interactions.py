"""The interactions contract, which a client's data must pass before training.

Breach policy: the client is rejected for the round, the reason is recorded, and the round goes on without it.
A frame that cannot be evaluated (a missing column, a column of mixed types) is treated the same.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from data_contracts.outcome import ContractOutcome
from data_contracts.rule import Rule, absent, between, present, row_count, unique
from data_contracts.validation import validate
from models.kernel.catalog import ItemCatalog

if TYPE_CHECKING:
    import pandas as pd


REQUIRED_COLUMNS = ("user_id", "item_id")
OPTIONAL_COLUMNS = ("rating", "timestamp")
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


def interaction_rules(limits: InteractionLimits, columns: Collection[str]) -> tuple[Rule, ...]:
    """Return the suite. It has rules for ratings and timestamps only if `columns` contains these."""
    rules = [
        row_count("enough_rows", limits.min_rows, setting=f"{_SECTION}.min_rows"),
        present("user_present", "user_id"),
        present("item_present", "item_id"),
        absent("item_known", "unknown_item", "every item_id in the job's catalogue"),
        unique("pair_once", ["user_id", "item_id"]),
    ]
    if "rating" in columns:
        rules += [
            present("rating_present", "rating"),
            between(
                "rating_in_range",
                "rating",
                limits.min_rating,
                limits.max_rating,
                "a rating",
                f"{_SECTION}.min_rating and max_rating",
            ),
        ]
    if "timestamp" in columns:
        rules += [
            present("timestamp_present", "timestamp"),
            between(
                "timestamp_in_range",
                "timestamp",
                limits.min_timestamp,
                limits.max_timestamp,
                "a timestamp in seconds",
                f"{_SECTION}.min_timestamp and max_timestamp",
            ),
        ]
    return tuple(rules)


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
        The outcome. A breach's keys are row numbers, counted from 0 in the frame's order.

    Raises:
        ContractViolation: an expectation could not be evaluated, for example because a column is missing.
    """
    columns = [name for name in (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS) if name in frame.columns]
    table = frame[columns].reset_index(drop=True)
    table["row"] = range(len(table))
    if "item_id" in table.columns:
        # Unknown items are found here, because Great Expectations would copy a value set of all items into
        # every result. The ids are plain objects, because a look-up of 2,000 ids takes Arrow 10 ms.
        ids = table["item_id"].astype(object)
        table["unknown_item"] = ids.where(ids.notna() & ~ids.isin(catalog.ids), None)
    return validate("interactions", client_id, table, interaction_rules(limits, columns), key="row")
