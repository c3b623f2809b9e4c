"""Every error of fedrec crosses process borders whole."""

from __future__ import annotations

import copy
import pickle

import pytest

from models import errors
from models.errors import FedrecError


def family(root: type[FedrecError] = FedrecError) -> list[type[FedrecError]]:
    return [root, *(each for child in root.__subclasses__() for each in family(child))]


@pytest.mark.parametrize("kind", family(), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("through", [lambda e: pickle.loads(pickle.dumps(e)), copy.deepcopy])  # noqa: S301
def test_an_error_keeps_message_attributes_and_exit_code(kind, through):
    error = through(kind("It broke.", next_step="Mend it.", client_id="ash", round=3, facts_of=("a", 1)))
    assert type(error) is kind
    assert str(error) == "It broke. Mend it."
    assert (error.what, error.next_step) == ("It broke.", "Mend it.")
    assert (error.client_id, error.round, error.facts_of) == ("ash", 3, ("a", 1))
    assert error.facts == {"client_id": "ash", "round": 3, "facts_of": ("a", 1)}
    assert error.exit_code == kind.exit_code


def test_without_a_next_step_the_message_is_what_happened():
    assert str(FedrecError("It broke.")) == "It broke."


def test_exit_codes_are_those_of_the_command_s_help():
    # 0 done, 1 failed, 2 wrong input, 3 quorum, 4 refused, 5 contract, 6 ledger, 7 privacy budget: see
    # `fedrec --help`.
    special = {
        errors.InvalidInput: 2,
        errors.InvalidConfig: 2,
        errors.NotFound: 2,
        errors.QuorumNotReached: 3,
        errors.PromotionRefused: 4,
        errors.ContractViolation: 5,
        errors.LedgerTampered: 6,
        errors.BudgetExceeded: 7,
    }
    assert {kind: kind.exit_code for kind in family()} == {kind: special.get(kind, 1) for kind in family()}
