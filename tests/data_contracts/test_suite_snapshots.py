"""A changed contract changes a file in the repository."""

import pytest

from data_contracts import snapshots
from data_contracts.outcome import CONTRACTS, ContractName


@pytest.mark.parametrize("contract", CONTRACTS)
def test_the_stored_suite_is_the_one_in_the_code(contract: ContractName) -> None:
    stored = (snapshots.FOLDER / f"{contract}.json").read_text(encoding="utf-8")
    assert stored == snapshots.as_text(snapshots.suites()[contract]), (
        "The contract changed. If on purpose: python -m data_contracts.snapshots"
    )


def test_every_expectation_has_a_unique_name_and_a_description() -> None:
    for suite in snapshots.suites().values():
        names = [expectation["meta"]["name"] for expectation in suite["expectations"]]
        assert len(set(names)) == len(names) > 0
        assert all(
            expectation["description"].startswith("Requires ") for expectation in suite["expectations"]
        )
        assert all(expectation["severity"] == "critical" for expectation in suite["expectations"])
