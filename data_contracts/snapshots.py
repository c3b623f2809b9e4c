"""The suites in Great Expectations' JSON form, stored in `data_contracts/suites/`.

Changing a contract changes a file there, and a test fails while code and files differ. After an intended
change, update the files with:

    python -m data_contracts.snapshots
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from data_contracts.embeddings import EmbeddingLimits, embedding_rules
from data_contracts.interaction_profile import OPTIONAL_COLUMNS
from data_contracts.interactions import InteractionLimits, interaction_rules
from data_contracts.outcome import ContractName
from data_contracts.rule import Rule
from data_contracts.updates import UpdateLimits, update_rules
from data_contracts.validation import suite_json

FOLDER = Path(__file__).parent / "suites"

# Examples of the values that are known only in a round.
_ROUND, _DIGEST, _ITEMS, _DIMS = 0, "0" * 64, 1682, 32


def suites() -> dict[ContractName, dict[str, Any]]:
    """Return the JSON of each contract's suite, with default limits and example values of a round."""
    rules: dict[ContractName, tuple[Rule, ...]] = {
        "interactions": interaction_rules(InteractionLimits(), OPTIONAL_COLUMNS),
        "updates": update_rules(_ROUND, _DIGEST, _DIGEST, UpdateLimits()),
        "embeddings": embedding_rules(_ITEMS, _DIMS, _DIGEST, EmbeddingLimits()),
    }
    return {contract: suite_json(contract, suite) for contract, suite in rules.items()}


def as_text(suite: dict[str, Any]) -> str:
    """Return a suite as the text of its file."""
    return json.dumps(suite, indent=2, sort_keys=True, allow_nan=False) + "\n"


def main() -> None:
    """Write each suite to its file."""
    FOLDER.mkdir(exist_ok=True)
    for contract, suite in suites().items():
        (FOLDER / f"{contract}.json").write_text(as_text(suite), encoding="utf-8")


if __name__ == "__main__":
    main()
