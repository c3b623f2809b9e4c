"""The exposure alarm on a real job: honest retraining passes, and a lifted item waits for a person."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest
from click.testing import CliRunner, Result
from pydantic import ValidationError

from flows.approval import HeldForm
from flows.cli import cli
from flows.decide import ApprovalDecision, decide_promotion
from models.errors import InvalidInput
from models.federation.model import GlobalModel, ItemArrays
from models.promotion.gates import PromotionPolicy
from models.promotion.verdict import GateVerdict
from tasks.local.home import Home
from tasks.promotion import ledger
from tasks.tracking import registry
from tests.worlds.mlflow_home import put_database
from tests.worlds.registered import World
from tests.worlds.small_jobs import small_job

MODEL, TARGET = "small-model", 77


@dataclass
class Trained:
    """Two trainings that differ in their seeds, and a version like the second one with a lifted item."""

    home: Home
    client: Any
    champion: int
    retrained: int
    lifted: int


@pytest.fixture(scope="module")
def trained(
    popular_dir: Path, empty_database: Path, prefect_server: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trained]:
    with pytest.MonkeyPatch.context() as patch:
        home = Home(tmp_path_factory.mktemp("alarm") / "home")
        put_database(home, empty_database)
        patch.setenv("FEDREC_HOME", str(home.root))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home.mlflow / 'mlflow.db'}")
        from flows.train import run_locally

        found = []
        for seed in (1, 2):
            # Enough rounds for a model that another seed does not change much.
            rounds = {"federation": {"rounds": 20}, "evaluation": {"every": 20}}
            job = small_job(popular_dir, seed=seed, train={"dims": 8}, **rounds)
            run_locally(job)
            found.append(registry.require_evaluated(registry.client(home), MODEL))
        client = registry.client(home)
        yield Trained(home, client, *found, with_lifted_item(home, client, found[1]))


def with_lifted_item(home: Home, client: Any, version: int) -> int:
    """Register a version like this one in which the target has a large bias, and return its number."""
    loaded = registry.load_version(client, MODEL, version)
    items = loaded.model().items
    assert isinstance(items, ItemArrays)
    biases = items.biases.copy()
    biases[TARGET] += 20.0
    arrays = dict(items.named()) | {"biases": biases}
    record = loaded.record
    entry = client.get_model_version(MODEL, str(version))
    artifacts = Path(urlparse(client.get_run(entry.run_id).info.artifact_uri).path)
    world = World(home, client, entry.run_id, artifacts, MODEL, record.job_id)
    return world.register(
        record.round + 1,
        record.evaluation,
        model=GlobalModel(record.round + 1, record.catalog_digest, ItemArrays(**arrays)),
        catalog_digest=record.catalog_digest,
        data_digest=record.data_digest,
    )


@pytest.fixture
def decided(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trained:
    """Promote the first training in a home of its own, with the registry of the trainings."""
    home = Home(tmp_path / "own")
    put_database(home, trained.home.mlflow / "mlflow.db")
    monkeypatch.setenv("FEDREC_HOME", str(home.root))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home.mlflow / 'mlflow.db'}")
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    first = answer("promote", "--version", str(trained.champion))
    assert exposure_of(first)["observed"] == "there is no earlier champion to compare with"
    return replace(trained, home=home, client=registry.client(home))


def fedrec(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), standalone_mode=False)


def answer(*arguments: str, exit_code: int = 0) -> dict[str, Any]:
    """Return the one object on stdout."""
    # Two trainings of one round differ in quality, which is not what is judged here.
    tolerant = ("--tolerance", "0.9", "--max-client-drop", "0.9") if arguments[0] == "promote" else ()
    result = fedrec(*arguments, *tolerant, "--json")
    assert result.exit_code == exit_code, (result.output, result.exception)
    return dict(json.loads(result.stdout))


APPROVED = ("--approve-exposure", "--reason", "a hit")


def exposure_of(outcome: dict[str, Any]) -> dict[str, Any]:
    (found,) = (each for each in outcome["verdicts"] if each["gate"] == "exposure")
    return dict(found)


def failed(outcome: dict[str, Any]) -> list[str]:
    return [each["gate"] for each in outcome["verdicts"] if not each["passed"]]


def test_an_honest_retraining_passes(decided: Trained) -> None:
    outcome = answer("promote", "--version", str(decided.retrained))
    assert outcome["promoted"]
    assert f"compared with version {decided.champion}" in exposure_of(outcome)["observed"]


def test_a_lifted_item_is_held_and_named_until_a_person_approves(decided: Trained) -> None:
    version = str(decided.lifted)
    held = answer("promote", "--version", version, exit_code=4)

    assert failed(held) == ["exposure"]
    assert exposure_of(held)["observed"].startswith(f"Film {TARGET} [id i{TARGET:03d}] is in ")
    assert registry.aliases(decided.client, MODEL) == {"champion": decided.champion}
    limits = ("--tolerance", "0.9", "--max-client-drop", "0.9", "--exposure", "least=0.15")
    shown = fedrec("promote", "--version", version, *limits).stdout
    assert f"--version {version} {' '.join(limits)} --approve-exposure --reason TEXT" in shown

    # The printed command, with a reason.
    said = shown.split("Approve with fedrec ")[1].split(" TEXT.")[0].split()
    done = fedrec(*said, "the film of the year", "--actor", "ada")
    assert done.exit_code == 0, (done.output, done.exception)
    assert registry.aliases(decided.client, MODEL)["champion"] == decided.lifted
    # The ledger keeps the alarm, what it saw and who approved it.
    *_, refused, accepted = answer("audit", version)["decisions"]
    seen = exposure_of(refused)["observed"]
    assert (refused["accepted"], accepted["accepted"]) == (False, True)
    assert exposure_of(accepted)["observed"] == f"{seen}; approved by ada"
    assert accepted["policy"]["exposure"] == {"least": 0.15, "factor": 2.0, "most": 0.5, "lists": 2000}
    assert accepted["reason"] == "the film of the year"
    (row,) = [line for line in fedrec("audit").stdout.splitlines() if "the film of the year" in line]
    assert "applied; the exposure alarm was overridden by ada" in row


def test_an_approval_names_a_version(decided: Trained) -> None:
    error = fedrec("promote", "--approve-exposure", "--reason", "a hit").exception
    assert isinstance(error, InvalidInput)
    assert "none is named" in str(error)


@pytest.mark.parametrize("reason", [(), ("--reason", " ")])
def test_an_approval_has_a_reason(decided: Trained, reason: tuple[str, ...]) -> None:
    error = fedrec("promote", "--version", str(decided.lifted), "--approve-exposure", *reason).exception
    assert isinstance(error, InvalidInput)
    assert "no reason is given" in str(error)
    assert registry.aliases(decided.client, MODEL) == {"champion": decided.champion}


def test_an_approval_passes_no_other_gate(decided: Trained) -> None:
    result = fedrec("promote", "--version", str(decided.lifted - 2), *APPROVED, "--json")
    assert result.exit_code == 4
    # It is round 19, which was not evaluated.
    assert "quality" in failed(json.loads(result.stdout))


def test_the_limits_are_settings(decided: Trained) -> None:
    limits = ("--exposure", "least=0.01", "--exposure", "lists=50")
    outcome = answer("promote", "--version", str(decided.retrained), *limits, exit_code=4)
    assert failed(outcome) == ["exposure"]
    assert "(50 lists, compared with version" in exposure_of(outcome)["observed"]
    assert exposure_of(outcome)["required"].endswith("0.010")
    for wrong in ("least", "least=much", "leest=0.3"):
        assert isinstance(fedrec("promote", "--exposure", wrong).exception, InvalidInput), wrong


def asked(decided: Trained, answered: ApprovalDecision) -> tuple[dict[str, Any], list[Any]]:
    """Return the outcome for the lifted version if a person gives this answer, and what they were shown."""
    questions: list[Any] = []

    def ask(candidate: int, instead: str, verdicts: tuple[GateVerdict, ...]) -> ApprovalDecision:
        questions.append([each.gate for each in verdicts if not each.passed])
        return answered

    policy = PromotionPolicy(tolerance=0.9, max_client_drop=0.9)
    outcome = decide_promotion(
        *(decided.home, decided.client, MODEL, decided.lifted, policy), actor="weekly", reason="", ask=ask
    )
    return outcome, questions


def test_a_person_who_is_asked_sees_the_alarm_and_can_approve(decided: Trained) -> None:
    yes = ApprovalDecision(GateVerdict("approval", True, "approved by ada", "a person"), "ada", "a hit")
    outcome, questions = asked(decided, yes)
    assert questions == [["exposure"]]
    assert (outcome["promoted"], outcome["actor"], outcome["reason"]) == (True, "ada", "a hit")
    assert exposure_of(outcome)["observed"].endswith("; approved by ada")


def test_a_person_who_is_asked_can_refuse(decided: Trained) -> None:
    no = ApprovalDecision(GateVerdict("approval", False, "refused by bob", "a person"), "bob")
    outcome, _ = asked(decided, no)
    assert (outcome["promoted"], failed(outcome)) == (False, ["exposure", "approval"])
    assert ledger.read(decided.home).entries[-1].body["accepted"] is False


def test_a_flow_run_approves_a_version_only_if_it_is_named(decided: Trained) -> None:
    from flows.promote import promotion

    given = {"model_name": MODEL, "actor": "ada", "tolerance": 0.9, "max_client_drop": 0.9}
    with pytest.raises(InvalidInput, match="none is named"):
        promotion(**given, approve_exposure="a hit")
    with pytest.raises(InvalidInput, match="no reason is given"):
        promotion(**given, version=decided.lifted, approve_exposure=" ")
    state = promotion(**given, version=decided.lifted, return_state=True)
    assert (state.name, state.message) == ("Refused", "Gates that did not pass: exposure.")
    # The standing reason of a deployment is not that of who approves.
    outcome = promotion(**given, version=decided.lifted, reason="weekly", approve_exposure="a hit")
    assert (outcome["promoted"], outcome["reason"]) == (True, "a hit")


def test_the_form_about_a_held_version_needs_a_reason() -> None:
    with pytest.raises(ValidationError, match="note"):
        HeldForm(approve=True, approver="ada")
    with pytest.raises(ValidationError, match="note"):
        HeldForm(approve=True, approver="ada", note=" ")
    assert HeldForm(approve=True, approver="ada", note="a hit").note == "a hit"
