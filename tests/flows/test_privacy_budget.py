"""A privacy budget from end to end: retrainings spend it, one too many is refused, and the audit tells it."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flows.cli import cli
from flows.commands.promotion.audit_privacy import privacy_of, show_privacy
from flows.jobs.job import finished_before
from flows.jobs.privacy import charge, guarantee_of, require_summands, tell
from flows.settings.training_config import TrainingConfig, parse_config
from flows.terminal.progress import listening
from models.errors import BudgetExceeded, InvalidConfig, LedgerTampered, QuorumNotReached
from models.privacy.account import Reservation, left_of
from models.privacy.mechanisms import Mechanism, epsilon_of, multiplier_for
from models.privacy.noise_plan import NoisePlan
from models.promotion.privacy_gate import privacy_gate
from models.promotion.verdict import GateVerdict
from models.recommenders.additive.ease import EaseSpec
from models.recommenders.private.spec import DpItemsSpec
from tasks.datasets.client_assignment import ByChance
from tasks.datasets.partition import make_partition
from tasks.jobs.journal import Journal
from tasks.local.home import Home
from tasks.messages.job_result import JobResult
from tasks.messages.record import as_json_object
from tasks.messages.round_record import EvaluatedRound
from tasks.privacy.account_file import read_account, reserve, settle
from tasks.promotion import ledger
from tasks.promotion.promote import evidence_of
from tasks.promotion.spend import spend_in, spend_of
from tasks.publishing.publish import facts_of
from tasks.tracking import registry
from tests.conftest import small_tables
from tests.worlds.mlflow_home import put_database
from tests.worlds.small_jobs import small_job

MODEL = "small-model"
EPSILON, DELTA, BUDGET = 4.0, 1e-5, 8.0
MULTIPLIER = multiplier_for(EPSILON, DELTA)
# Noise of several jobs adds up less fast than their epsilons: three fit into the budget, and four do not.
THREE, FOUR = (epsilon_of([Mechanism(MULTIPLIER, count=count)], DELTA) for count in (3, 4))


def job(
    partition: Path,
    seed: int,
    *,
    secure: bool = True,
    budget: float = BUDGET,
    spec: DpItemsSpec | EaseSpec | None = None,
) -> TrainingConfig:
    return small_job(
        partition,
        seed=seed,
        train=spec or DpItemsSpec(),
        federation={"rounds": 1 if spec else 2},
        evaluation={"negatives": 99},
        privacy={"unit": "user", "epsilon": EPSILON, "budget": budget, "secure_sum": secure},
    )


@dataclass
class Spent:
    """A home in which three jobs have spent most of the budget, the second one without secure sums."""

    home: Home
    partition: Path
    results: tuple[JobResult, ...]

    @property
    def account(self) -> Path:
        return self.home.privacy / "users.jsonl"

    def record(self, place: int) -> EvaluatedRound:
        """Return the verified record of the last round of a job."""
        version = self.results[place].rounds[-1].version
        assert version is not None
        return registry.load_record(registry.open_registry(self.home), MODEL, version)

    def version(self, place: int) -> str:
        return str(self.results[place].rounds[-1].version)


def train(config: TrainingConfig) -> JobResult:
    from flows.train import run_locally

    result, exit_code = run_locally(config)
    assert exit_code == 0
    return result


@pytest.fixture(scope="module")
def spent(
    popular_dir: Path, empty_database: Path, prefect_server: None, tmp_path_factory: pytest.TempPathFactory
) -> Spent:
    with pytest.MonkeyPatch.context() as patch:
        home = Home(tmp_path_factory.mktemp("budget") / "home")
        put_database(home, empty_database)
        enter(home, patch)
        results = tuple(train(job(popular_dir, seed, secure=seed != 2)) for seed in (1, 2, 3))
        return Spent(home, popular_dir, results)


def enter(home: Home, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("FEDREC_HOME", str(home.root))
    patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home.mlflow / 'mlflow.db'}")
    patch.delenv("PREFECT_API_URL", raising=False)


@pytest.fixture
def world(spent: Spent, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spent]:
    """Let the environment name the home. What a test changes of account, ledger and jobs is undone."""
    enter(spent.home, monkeypatch)
    kept = spent.home.root.with_name("kept")
    for name in ("privacy", "ledger"):
        if (spent.home.root / name).exists():
            shutil.copytree(spent.home.root / name, kept / name)
    jobs = {path.name for path in spent.home.jobs.iterdir()}
    database = (spent.home.mlflow / "mlflow.db").read_bytes()
    yield spent
    (spent.home.mlflow / "mlflow.db").write_bytes(database)
    for path in spent.home.jobs.iterdir():
        if path.name not in jobs:
            shutil.rmtree(path)
    for name in ("privacy", "ledger"):
        shutil.rmtree(spent.home.root / name, ignore_errors=True)
        if (kept / name).exists():
            shutil.copytree(kept / name, spent.home.root / name)
    shutil.rmtree(kept)


def fedrec(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), standalone_mode=False)


def answer(*arguments: str, exit_code: int = 0) -> dict[str, Any]:
    """Return the one object on stdout."""
    result = fedrec(*arguments, "--json")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == exit_code, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def privacy_verdict(outcome: dict[str, Any]) -> dict[str, Any]:
    return next(each for each in outcome["verdicts"] if each["gate"] == "privacy")


def test_each_job_is_charged_once_and_settled(world: Spent) -> None:
    account, _ = read_account(world.home, "users")
    assert list(account.jobs) == [each.job_id for each in world.results]
    models = {each.job_id: each.model_sha256 for each in world.results}
    for each in account.jobs.values():
        assert each.settled
        assert each.mechanisms == (Mechanism(MULTIPLIER),)
        assert each.model_sha256 == models[each.reservation.job_id]
        assert (each.reservation.config_name, each.reservation.model_name) == ("small", MODEL)
    assert [each.account_epsilon for each in world.results] == pytest.approx(
        [epsilon_of([Mechanism(MULTIPLIER, count=count)], DELTA) for count in (1, 2, 3)]
    )


def test_one_job_too_many_is_refused_and_leaves_nothing_behind(world: Spent) -> None:
    before = world.account.read_bytes()
    jobs = {path.name for path in world.home.jobs.iterdir() if path.is_dir()}
    for _ in range(2):
        with pytest.raises(BudgetExceeded) as refused:
            train(job(world.partition, seed=4))
        facts = refused.value.facts
        assert (facts["account"], facts["budget"], facts["asked"]) == ("users", BUDGET, EPSILON)
        assert facts["spent"] == pytest.approx(THREE)
        assert f"which would make it {FOUR:.4g}" in refused.value.what
    assert world.account.read_bytes() == before
    assert {path.name for path in world.home.jobs.iterdir() if path.is_dir()} == jobs
    assert not any(world.home.silos.glob("*/state/small-*4*"))


@pytest.mark.parametrize("secure", [True, False])
def test_sums_of_counts_that_noise_made_negative_are_merged(world: Spent, secure: bool) -> None:
    spec = EaseSpec(user_norm="unit")
    result = train(job(world.partition, seed=5, secure=secure, budget=2 * BUDGET, spec=spec))
    assert (result.status, len(result.rounds)) == ("finished", 1)
    account, _ = read_account(world.home, "users")
    charged = account.jobs[result.job_id]
    assert (charged.settled, charged.mechanisms) == (True, (Mechanism(MULTIPLIER),))
    version = result.rounds[-1].version
    assert version is not None
    model = registry.load_version(registry.client(world.home), MODEL, version).model().items
    # Nobody used an item less than never: the noise did that.
    assert model.popularity.min() < 0.0


def test_a_finished_job_spends_nothing_when_it_is_run_again(world: Spent) -> None:
    before = world.account.read_bytes()
    found = finished_before(job(world.partition, seed=1, budget=2 * BUDGET))
    assert found is not None
    assert found.job_id == world.results[0].job_id
    assert world.account.read_bytes() == before


@pytest.mark.parametrize(
    ("place", "noise_by", "summands"), [(0, "clients under secure sums", 3), (1, "clients", 2)]
)
def test_the_promise_is_on_every_record(world: Spent, place: int, noise_by: str, summands: int) -> None:
    record, result = world.record(place), world.results[place]
    promised = record.privacy
    assert promised is not None
    assert (promised.unit, promised.epsilon, promised.delta) == ("user", EPSILON, DELTA)
    assert promised.multiplier == MULTIPLIER
    # Of three clients, a secure sum needs all three, and the quorum of half of them two.
    assert (promised.noise_by, promised.summands) == (noise_by, summands)
    journal = Journal(world.home.jobs / result.job_id)
    assert journal.opening.privacy == result.privacy == promised
    assert journal.committed()[0].privacy is None

    client = registry.client(world.home)
    assert result.run_id is not None
    parameters = client.get_run(result.run_id).data.params
    tags = registry.tags_of(client, MODEL, int(world.version(place)))
    for name, value in (("epsilon", "4.0"), ("multiplier", str(MULTIPLIER)), ("noise_by", noise_by)):
        assert parameters[f"privacy.{name}"] == value
        assert tags[f"fedrec.privacy.{name}"] == value
    loaded = registry.load_version(client, MODEL, int(world.version(place)))
    assert facts_of(loaded, MODEL)["privacy"] == as_json_object(promised)
    assert "epsilon 4 for each user" in client.get_model_version(MODEL, world.version(place)).description


def test_nothing_is_told_but_noisy_totals(world: Spent) -> None:
    for place, result in enumerate(world.results):
        record = world.record(place)
        assert (result.data.users, result.data.interactions, result.clients) == (None, None, ())
        assert (result.final.silo_only, result.final.centralised) == (None, None)
        assert result.final.federated is not None
        assert record.training == {}
        assert record.evaluation is not None
        assert record.evaluation.clients == {}
        metrics = record.evaluation.metrics
        # Hits are whole. 300 users have a case each, and noise hides their number once for all metrics.
        assert not any(metrics[name].total.is_integer() for name in ("hr@10", "loo_hr@10"))
        (cases,) = {each.weight for each in metrics.values()}
        assert 100.0 < cases < 500.0
        journal = Journal(world.home.jobs / result.job_id)
        for text in journal.outcomes():
            outcome = json.loads(text)
            assert outcome["subject"].startswith("round-") or outcome["result"] == {}


def test_the_report_says_it_in_words(world: Spent) -> None:
    text = (Path(world.results[1].report) / "report.html").read_text()
    assert "with epsilon 4 and delta 1e-05" in text
    assert "has a share of the noise only" in text
    two = epsilon_of([Mechanism(MULTIPLIER, count=2)], DELTA)
    left = left_of(BUDGET, DELTA, [Mechanism(MULTIPLIER, count=2)])
    assert f"has spent an epsilon of {two:.4g} of its budget of 8 in all. One more job may have" in text
    assert f"may have {left:.4g}." in text
    noise = world.results[1].figures_noise or {}
    assert f"noise alone moves NDCG@10 by up to {noise['ndcg@10']:.4f}" in text
    assert noise.keys() == (world.results[1].final.federated or {}).keys()
    assert "users," not in text.partition("Federated training took")[0].rpartition("<p")[2]
    secure = (Path(world.results[0].report) / "report.html").read_text()
    assert "The sums were secure" in secure


def test_an_evaluation_of_the_data_themselves_says_that_it_has_no_noise(world: Spent) -> None:
    told = fedrec("evaluate", "--model", MODEL, "--version", world.version(0))
    assert told.exit_code == 0, told.output
    assert "300 users" in told.output
    assert "charged to no account" in " ".join(told.output.split())


def test_a_finished_job_is_not_charged_again_and_says_who_paid(world: Spent) -> None:
    before = world.account.read_bytes()
    path = world.home.root / "job.json"
    path.write_text(json.dumps(job(world.partition, 1).model_dump(mode="json")))
    done = fedrec("train", "--config", str(path), "--set", "privacy.account=others")
    path.unlink()
    assert "charged to the account 'users'" in " ".join(done.stderr.split())
    assert world.account.read_bytes() == before
    assert [each.name for each in world.home.privacy.glob("*.jsonl")] == ["users.jsonl"]


def test_the_terminal_says_that_a_plain_coordinator_reads_more(world: Spent) -> None:
    for seed, secure in ((1, True), (2, False)):
        path = world.home.root / "job.json"
        path.write_text(json.dumps(job(world.partition, seed, secure=secure).model_dump(mode="json")))
        done = fedrec("train", "--config", str(path))
        path.unlink()
        said = " ".join(done.output.split())
        assert "differential privacy with epsilon 4 and delta 1e-05" in said
        assert ("but not towards the coordinator" in said) is not secure
    announced: list[str] = []
    promised = world.results[1].privacy
    assert promised is not None
    with listening(lambda event: announced.append(event.text)):
        tell(promised)
        tell(replace(promised, noise_by="clients under secure sums"))
    assert [text.partition(" ")[0] for text in announced] == ["Each", "Without", "Each"]
    assert "reads each client's update, which has a share of the noise only" in announced[1]


def test_a_version_within_its_budget_passes_and_is_audited(world: Spent) -> None:
    outcome = answer("promote", "--version", world.version(0), "--max-epsilon", "4", "--actor", "ada")
    assert outcome["promoted"], outcome["verdicts"]
    assert f"has spent {THREE:.4g} of 8" in privacy_verdict(outcome)["observed"]
    body = ledger.read(world.home).entries[0].body
    assert body["evidence"]["privacy"]["epsilon"] == EPSILON
    assert body["policy"]["max_epsilon"] == EPSILON

    told = answer("audit")["privacy"]
    (version,) = told["versions"]
    assert (version["version"], version["epsilon"]) == (int(world.version(0)), EPSILON)
    assert version["spent"] == pytest.approx(THREE)
    assert not version["over_budget"]
    (account,) = told["accounts"]
    assert [line["job_id"] for line in account["jobs"]] == [each.job_id for each in world.results]
    assert account["head"] == read_account(world.home, "users")[1].sha256
    shown = fedrec("audit").stdout
    assert f"the account users has spent {THREE:.4g} of 8." in shown
    assert "OVER BUDGET" not in shown
    verified = answer("audit", "--verify")["privacy_accounts"]
    assert verified == [{"account": "users", "entries": 6, "head": account["head"]}]


def test_a_larger_epsilon_than_required_is_refused(world: Spent) -> None:
    outcome = answer("promote", "--version", world.version(0), "--max-epsilon", "3.9", exit_code=4)
    assert "above the epsilon of 3.9" in privacy_verdict(outcome)["observed"]


def test_the_champion_is_held_to_a_required_epsilon(world: Spent) -> None:
    version = world.version(0)
    answer("promote", "--version", version)
    entries = len(ledger.read(world.home).entries)
    kept = answer("promote", "--version", version, "--max-epsilon", "4")
    assert (kept["promoted"], kept["already_champion"]) == (True, True)
    assert "nothing was changed" in fedrec("promote", "--version", version).stdout
    assert len(ledger.read(world.home).entries) == entries

    above = answer("promote", "--version", version, "--max-epsilon", "3.9", exit_code=4)
    assert (above["promoted"], above["already_champion"], above["version"]) == (False, True, int(version))
    assert [each["gate"] for each in above["verdicts"]] == ["privacy"]
    assert "above the epsilon of 3.9" in privacy_verdict(above)["observed"]
    told = fedrec("promote", "--version", version, "--max-epsilon", "3.9")
    assert told.exit_code == 4
    assert f"promote --model {MODEL} --version N --max-epsilon 3.9" in told.stdout
    assert f"fedrec rollback --model {MODEL}" in told.stdout
    # Both refusals are written down, and the version stays champion.
    history = answer("audit", version)
    assert [each["accepted"] for each in history["decisions"]] == [True, False, False]
    assert history["champion"] == int(version)


def test_a_version_over_its_budget_is_refused_whoever_approves(world: Spent) -> None:
    answer("promote", "--version", world.version(0))
    fourth = train(job(world.partition, seed=4, budget=2 * BUDGET))
    # Models with so much noise differ, so the exposure gate may refuse it; its own budget is larger.
    tried = fedrec("promote", "--version", str(fourth.rounds[-1].version), "--json")
    own = privacy_verdict(json.loads(tried.stdout))
    assert own["passed"]
    assert f"has spent {FOUR:.4g} of 16" in own["observed"]

    for arguments in ((), ("--approve-exposure", "--reason", "a hit")):
        outcome = answer("promote", "--version", world.version(1), *arguments, exit_code=4)
        verdict = privacy_verdict(outcome)
        assert not verdict["passed"]
        assert f"is over its budget: it has spent {FOUR:.4g} of 8" in verdict["observed"]
    shown = fedrec("audit").stdout
    assert f"Version {world.version(0)}: epsilon 4; OVER BUDGET, the account users has spent" in shown
    refused = [each for each in answer("audit", world.version(1))["decisions"] if not each["accepted"]]
    assert len(refused) == 2
    # The second job had no secure sums, the first one had.
    read = "the coordinator read updates with a share of it only"
    assert read in fedrec("audit", world.version(1)).stdout
    assert read not in fedrec("audit", world.version(0)).stdout


def test_a_sum_of_too_few_clients_is_never_opened(
    tmp_path: Path, mlflow_home: Home, prefect_server: None
) -> None:
    """Of five clients, two are gone. The other three are enough for a secure sum, but not for its noise."""
    paths = small_tables(tmp_path / "tables")
    partition = tmp_path / "partition"
    make_partition(paths["interactions"], partition, ByChance(5, 1), items=paths["items"], users=None)
    clients = sorted((partition / "clients").iterdir())
    for folder in clients[:2]:
        (folder / "interactions.parquet").write_bytes(b"damaged")
    from flows.train import run_locally

    result, exit_code = run_locally(job(partition, seed=1))
    assert (result.status, exit_code, result.rounds) == ("stopped", 3, ())
    assert "and needs 4: each has that share of the noise" in str(result.stop_reason)
    account, _ = read_account(mlflow_home, "users")
    assert [each.settled for each in account.jobs.values()] == [False]
    assert result.account_epsilon is None
    assert "is charged for the whole job" in (Path(result.report) / "report.html").read_text()


def of_four(sections: dict[str, Any]) -> TrainingConfig:
    """Return a configuration for four clients without secure sums; `sections` override it key by key."""
    raw: dict[str, Any] = {
        "name": "job",
        "model_name": "model",
        "data": {"dir": "/partition"},
        "train": {"family": "dp_items"},
        "privacy": {"unit": "user", "epsilon": EPSILON, "budget": BUDGET},
    }
    return parse_config(raw | {name: raw[name] | each for name, each in sections.items()}, "the test")


FOUR_CLIENTS = ("ash", "birch", "cedar", "elm")
# What each client adds if two share a noise of 1, in steps of 2^-12, for a multiplier of 1.
SHARE = 2.0**12 / math.sqrt(1 - 0.1) / math.sqrt(2)


@pytest.mark.parametrize(
    ("sections", "what", "steps", "step"),
    [
        (
            {"train": {"content_norm": 0.01, "content_share": 0.3}},
            "'content'",
            1e-4 / math.sqrt(0.3) * MULTIPLIER * SHARE,
            "Lower",
        ),
        ({"privacy": {"epsilon": 1e-4}}, "'popularity'", 2.0 * multiplier_for(1e-4, DELTA) * SHARE, "Raise"),
    ],
)
def test_noise_that_clients_cannot_draw_is_refused_before_the_account_is_charged(
    sections: dict[str, Any], what: str, steps: float, step: str
) -> None:
    with pytest.raises(InvalidConfig, match=what) as refused:
        guarantee_of(of_four(sections), FOUR_CLIENTS)
    assert f"a standard deviation of {steps:.3g} steps" in refused.value.what
    assert refused.value.next_step.startswith(step)


def test_figures_whose_noise_cannot_be_drawn_are_refused_too() -> None:
    drowned = of_four({"privacy": {"epsilon": 0.05, "figures_share": 1e-9}})
    with pytest.raises(InvalidConfig, match="noise in the figures"):
        guarantee_of(drowned, FOUR_CLIENTS)
    promised = guarantee_of(of_four({}), FOUR_CLIENTS)
    assert promised is not None
    assert promised.multiplier == MULTIPLIER


def test_figures_of_too_few_clients_have_too_little_noise() -> None:
    noise = NoisePlan(multiplier=1.0, summands=3)
    require_summands(noise, "evaluation", ["ash", "birch", "cedar"])
    with pytest.raises(QuorumNotReached, match="the figures of 2 clients, and needs 3"):
        require_summands(noise, "evaluation", ["ash", "birch"])


def test_a_version_whose_record_was_changed_is_not_what_the_account_was_charged_for(world: Spent) -> None:
    account, _ = read_account(world.home, "users")
    job_id, promised = world.results[0].job_id, world.record(0).privacy
    assert promised is not None
    model = world.record(0).model_sha256
    assert not spend_in(account, promised, job_id, model).is_other
    changes: list[dict[str, Any]] = [
        {"epsilon": 1.0},
        {"delta": 0.1},
        {"multiplier": 9.0},
        {"budget": 99.0},
        {"period": "month"},
    ]
    for change in changes:
        assert spend_in(account, replace(promised, **change), job_id, model).is_other


def test_a_reset_forgives_no_version_that_was_over_its_budget(world: Spent) -> None:
    first, second = world.version(0), world.version(1)
    answer("promote", "--version", first)
    others = [
        Reservation(f"other-{at}", "other", "other", (Mechanism(MULTIPLIER),), EPSILON, DELTA, 99.0)
        for at in (1, 2)
    ]
    reserve(world.home, "users", others[0])
    answer("privacy", "reset", "--account", "users", "--by", "ada", "--reason", "other people")
    reserve(world.home, "users", others[1])
    outcome = answer("promote", "--version", second, exit_code=4)
    said = f"is over its budget: it had spent {FOUR:.4g} of 8 before a reset"
    assert said in privacy_verdict(outcome)["observed"]
    (told,) = answer("audit", first)["privacy"]["versions"]
    assert (told["over_budget"], told["before_reset"]) == (True, True)
    assert told["spent"] == pytest.approx(FOUR)
    shown = fedrec("audit").stdout
    assert f"OVER BUDGET, the account users had spent {FOUR:.4g} of 8 before a reset." in shown


def test_another_home_s_account_of_the_same_job_proves_nothing(world: Spent, tmp_path: Path) -> None:
    """Another home has a job of the same id and promise, and the version was copied into its registry."""
    job_id, record, other = world.results[0].job_id, world.record(0), Home(tmp_path / "other")
    evidence = evidence_of(1, record, "m" * 64)
    charge(other, job_id, Journal(world.home.jobs / job_id).opening)

    def verdict() -> GateVerdict:
        spend = spend_of(other, evidence)
        assert spend is not None
        return privacy_gate(record.privacy, spend, EPSILON)

    assert "was not settled for its job yet" in verdict().observed
    settle(other, "users", job_id, [Mechanism(MULTIPLIER)], "7" * 64)
    assert "was charged for another model of this job, 777777777777" in verdict().observed
    decision = {"version": 1, "accepted": True, "evidence": evidence.identity()}
    told = privacy_of(other, [decision])
    assert told["versions"][0]["other_model"] == "7" * 64


def test_the_audit_names_a_model_that_was_not_paid_for(
    world: Spent, capsys: pytest.CaptureFixture[str]
) -> None:
    answer("promote", "--version", world.version(0))
    told = answer("audit")["privacy"]
    assert [each["other_model"] for each in told["versions"]] == [None]
    show_privacy({"accounts": [], "versions": [told["versions"][0] | {"other_model": "7" * 64}]})
    job_id = world.results[0].job_id
    said = f"the account users was charged for another model of job {job_id}, 777777777777."
    assert said in capsys.readouterr().out


def test_an_account_that_was_cut_at_its_end_is_noticed(world: Spent) -> None:
    version, (first, second, third) = world.version(0), (each.job_id for each in world.results)
    openings = [Journal(world.home.jobs / each).opening for each in (first, second, third)]
    assert [each.account_head.count for each in openings if each.account_head] == [1, 3, 5]
    answer("promote", "--version", version)
    entry = ledger.read(world.home).entries[0]
    head = read_account(world.home, "users")[1]
    assert entry.body["evidence"]["account_head"] == {"count": 6, "sha256": head.sha256}

    # Without its last entry only the decision knows better; without the last three the third job does, too.
    lines = world.account.read_text().splitlines(keepends=True)
    decided = "it has 5 entries, but had 6 before, when entry 1 of the ledger of decisions was written"
    charged = f"it has 3 entries, but had 5 before, when job {third} was charged"
    for kept, said in ((5, decided), (3, charged)):
        world.account.write_text("".join(lines[:kept]))
        outcome = answer("promote", "--version", version, "--max-epsilon", "4", exit_code=4)
        assert f"is not what it was: {said}; restore it" in privacy_verdict(outcome)["observed"]
        assert f"NOT WHAT IT WAS: {said}." in fedrec("audit").stdout
        with pytest.raises(LedgerTampered, match=said):
            answer("audit", "--verify")
    # Gone altogether, it is missed as well.
    world.account.unlink()
    with pytest.raises(LedgerTampered, match=r"it has 0 entries, but had \d before, when job"):
        answer("audit", "--verify")
    world.account.write_text("".join(lines))
    assert answer("audit", "--verify")["privacy_accounts"] == [
        {"account": "users", "entries": 6, "head": head.sha256}
    ]


def test_an_account_that_was_lost_or_edited_proves_nothing(world: Spent) -> None:
    whole = world.account.read_text()
    world.account.write_text(whole.replace('"epsilon":4.0', '"epsilon":1.0', 1))
    outcome = answer("promote", "--version", world.version(0), exit_code=4)
    assert "cannot be read" in privacy_verdict(outcome)["observed"]
    assert isinstance(fedrec("audit", "--verify").exception, LedgerTampered)
    world.account.unlink()
    outcome = answer("promote", "--version", world.version(0), exit_code=4)
    assert "is not what it was: it has 0 entries, but had " in privacy_verdict(outcome)["observed"]
