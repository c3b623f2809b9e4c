"""What a verdict on a silo's data tells a coordinator of secure sums: whether they changed, and no counts."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from data_contracts.outcome import Breach, ContractOutcome
from models.privacy.mechanisms import Mechanism, epsilon_of
from models.privacy.noise_plan import NoisePlan
from models.recommenders.lightfm.spec import LightFMSpec
from tasks.clients.sum_member import SumRules
from tasks.datasets.source import FolderSource
from tasks.local.home import Home
from tasks.messages.answers import Checked
from tasks.messages.orders import JobContext
from tasks.silos.keys import load_key, make_key
from tasks.silos.perform_step import Silo
from tasks.silos.roster import add_member
from tasks.silos.sum_policy import epsilon_in, sum_rules, without_counts
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


def with_noise(home: Home, multiplier: float) -> tuple[Silo, JobContext]:
    silo = Silo(home, "ash", "file:///x", FolderSource(home.root), Allowed(), min_users=1)
    noise = NoisePlan(multiplier, summands=3)
    return silo, JobContext("job-1", 7, LightFMSpec(), "file:///x", "", "", "", 5, 20, noise=noise)


def test_epsilon_is_worked_out_once_for_each_promise(home: Home) -> None:
    silo, job = with_noise(home, 2.0)
    other = replace(job, noise=NoisePlan(3.0, summands=3))
    path = home.silos / "ash" / "promises" / "job-1.epsilon.json"
    for given, delta in ((job, 1e-5), (job, 1e-6), (other, 1e-5), (job, 1e-5)):
        assert given.noise is not None
        expected = epsilon_of([Mechanism(given.noise.multiplier)], delta)
        assert epsilon_in(silo, given, delta) == expected
        assert json.loads(path.read_text())[-1] == [given.noise.multiplier, delta, expected]
    for damaged in ("", "[[1.0]]", "{}", '[["x", "y", "z"]]'):
        path.write_text(damaged)
        assert epsilon_in(silo, job, 1e-5) == epsilon_of([Mechanism(2.0)], 1e-5)


@pytest.mark.parametrize("is_known", [True, False])
def test_a_step_whose_epsilon_is_known_does_not_import_what_works_it_out(home: Home, is_known: bool) -> None:
    silo, job = with_noise(home, 2.0)
    if is_known:
        epsilon_in(silo, job, 1e-5)
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tasks.local.home import Home\n"
        "from tests.tasks.silos.test_sum_policy import with_noise\n"
        "from tasks.silos.sum_policy import declined, privacy_of\n"
        "from dataclasses import replace\n"
        f"silo, job = with_noise(Home(Path({str(home.root)!r})), 2.0)\n"
        "silo, job = replace(silo, max_epsilon=9.0), replace(job, delta=1e-5)\n"
        "told = privacy_of(silo, job)\n"
        "assert 'dp_accounting' not in sys.modules\n"
        "assert declined(silo, job) is None and told()['epsilon'] < 9.0\n"
        "print('dp_accounting' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{not is_known}\n"


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
