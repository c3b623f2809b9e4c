"""What a verdict on a silo's data tells a coordinator of secure sums: whether they changed, and no counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from data_contracts.outcome import Breach, ContractOutcome
from tasks.clients.sum_member import SumRules
from tasks.datasets.source import FolderSource
from tasks.local.home import Home
from tasks.messages.answers import Checked
from tasks.silos.keys import load_key, make_key
from tasks.silos.perform_step import Silo
from tasks.silos.roster import add_member
from tasks.silos.sum_policy import sum_rules, without_counts
from tests.worlds.sums.summing_silos import Allowed

BROKEN = Breach("pair_once", "item_id", "each pair once", "3 rows in breach", ("7",), 3)
CHECKED = Checked(ContractOutcome("interactions", "ash", False, (BROKEN,), 9, {"rows": 80}), 8, 80, "d" * 64)


def rules() -> SumRules:
    return SumRules(Ed25519PrivateKey.generate(), {}, 3)


def test_a_verdict_keeps_neither_counts_nor_what_was_broken() -> None:
    found = without_counts(CHECKED, rules())
    assert (found.users, found.interactions) == (0, 0)
    assert (found.outcome.breaches, found.outcome.result) == ((), {})
    assert not found.outcome.passed
    assert without_counts(
        replace(CHECKED, outcome=replace(CHECKED.outcome, passed=True)), rules()
    ).outcome.passed


def test_a_digest_changes_with_the_data_and_cannot_be_recomputed() -> None:
    own = rules()
    first = without_counts(CHECKED, own).digest
    assert without_counts(CHECKED, own).digest == first
    assert without_counts(replace(CHECKED, digest="e" * 64), own).digest != first
    # Who guesses the data still lacks the silo's key.
    assert first not in {CHECKED.digest, without_counts(CHECKED, rules()).digest}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    make_key(Home(tmp_path / "silo"))
    return Home(tmp_path / "silo")


def test_a_roster_cannot_replace_the_silo_s_own_key(home: Home) -> None:
    other = Ed25519PrivateKey.generate().public_key()
    add_member(home, "ash", other)
    add_member(home, "birch", Ed25519PrivateKey.generate().public_key())
    silo = Silo(home, "ash", "file:///x", FolderSource(home.root), Allowed(), min_users=1, min_cohort=7)
    found = sum_rules(silo)
    assert set(found.roster) == {"ash", "birch"}
    assert found.roster["ash"] == load_key(home).public != other
    assert found.min_cohort == 7
