"""The search for good settings as a Prefect flow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from flows.settings.settings_file import validated
from flows.settings.training_config import TrainingConfig, parse_config
from flows.settings.tuning_config import Arm, TuningConfig, with_values
from flows.terminal.progress import announce
from models.errors import DivergedUpdate, InvalidConfig
from models.kernel.metric import as_json, values
from models.recommenders.lightfm.spec import LightFMSpec, without_unused
from tasks.datasets.partition_reader import open_partition
from tasks.jobs.journal import fingerprint
from tasks.local.environment import apply
from tasks.local.home import current_home
from tasks.orchestration.exit_codes import label_exit_code
from tasks.orchestration.logs import report_own_errors_once
from tasks.orchestration.run_names import named_after
from tasks.orchestration.runs import (
    end_orphaned_runs,
    note_own_run,
    wait_until_recorded,
    without_useless_heartbeats,
)
from tasks.orchestration.server import end_orphaned_servers, note_own_server, wait_for_temporary_server
from tasks.tuning.study import Proposal, Study, opened_study
from tasks.tuning.study_tracker import StudyTracker
from tasks.tuning.trial import TrialResult, TrialSpec, objective, trial_results


@dataclass(frozen=True)
class Search:
    """The inputs of a search, which all its steps share.

    Attributes:
        config: the training configuration in which keys are set.
        tuning: settings of the search.
        arm: what is tuned.
        digest: of the partition.
    """

    config: TrainingConfig
    tuning: TuningConfig
    arm: Arm
    digest: str

    @property
    def space(self) -> dict[str, dict[str, Any]]:
        """The ranges, as JSON values."""
        return {key: each.model_dump(mode="json") for key, each in self.tuning.space(self.arm).items()}

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that determines the results of the trials; their number is not part of it."""
        return {
            "arm": self.arm,
            "config": self.config.deciding(),
            "tuning": self.tuning.model_dump(mode="json"),
            "data": self.digest,
        }

    @property
    def study_id(self) -> str:
        """Name of the study; equal settings give the same name."""
        return f"{self.config.name}-{self.arm}-{fingerprint(self.settings)[:8]}"

    def first(self) -> dict[str, Any]:
        """Return the configuration's own values of the searched keys."""
        given = self.config.model_dump(mode="json")
        return {key: given[key.partition(".")[0]][key.partition(".")[2]] for key in self.space}

    def with_values(self, found: Mapping[str, Any]) -> TrainingConfig:
        """Return the configuration with these values.

        Raises:
            InvalidConfig: a key is unknown, or a value is out of range.
        """
        raw = with_values(self.config.model_dump(mode="json"), found)
        # A search draws each key by itself, so that some values meet others with which they have no effect.
        raw["train"] = without_unused(raw["train"])
        # A trial has rounds of its own, so what sections say of each other is left out.
        return validated(TrainingConfig, raw, "The search")

    def trial(self, config: TrainingConfig, seed: int) -> TrialSpec:
        """Return one training of a trial."""
        return TrialSpec(
            data_dir=str(config.data.dir),
            data_digest=self.digest,
            evaluation_seed=config.evaluation.seed,
            negatives=config.evaluation.negatives,
            train=_lightfm(config),
            pooled=self.arm == "centralised",
            cohort_share=config.federation.cohort_share,
            epochs=self.tuning.epochs,
            evaluations=self.tuning.evaluations,
            seed=seed,
            users_share=config.evaluation.users_share,
        )


@flow(
    name="tuning",
    flow_run_name=named_after(lambda parameters: f"{parameters['config'].name}-{parameters['arm']}"),
    description="Searches the settings of a training job, on the validation cases.",
    persist_result=False,
    on_failure=[label_exit_code],
)
def tune(config: TrainingConfig, tuning: TuningConfig, arm: Arm, trials: int) -> dict[str, Any]:
    """Run trials until the study has `trials` of them, and return them with the best one.

    Finished trials of an earlier or interrupted search count.

    Args:
        config: the training configuration in which keys are set.
        tuning: the keys, their ranges and the measure.
        arm: whether to tune the federation or LightFM on the pooled data.
        trials: total number of trials.
    """
    notes = current_home().prefect
    note_own_run(notes / "flow_runs", str(flow_run.id))
    note_own_server(notes / "servers")
    end_orphaned_runs(notes / "flow_runs")
    home = apply()
    search = open_search(parse_config(config.model_dump(mode="json"), "The flow's parameters"), tuning, arm)
    with opened_study(home.tuning / search.study_id, tuning.seed, search.space, search.first()) as study:
        tracker = StudyTracker(home, f"{config.name}-tuning", search.study_id, search.settings)
        try:
            while len(study.done) < trials:
                run_trial(search, study, tracker, study.propose())
                announce(_line(study), len(study.done), trials)
        except BaseException:
            tracker.end(None, "KILLED")
            raise
        tracker.end(study.best, "FINISHED")
        return {
            "study": search.study_id,
            "arm": arm,
            "trials": study.done,
            "best": study.best,
            "mlflow_run_id": tracker.run_id,
            "flow_run_id": str(flow_run.id),
        }


def run_locally(config: TrainingConfig, tuning: TuningConfig, arm: Arm, trials: int) -> dict[str, Any]:
    """Run `tune` in this process."""
    open_search(config, tuning, arm)  # reports errors before a server is started
    report_own_errors_once()
    end_orphaned_servers(current_home().prefect / "servers")
    wait_for_temporary_server()
    with without_useless_heartbeats():
        result: dict[str, Any] = tune(config, tuning, arm, trials)
    wait_until_recorded(result["flow_run_id"])
    return result


def open_search(config: TrainingConfig, tuning: TuningConfig, arm: Arm) -> Search:
    """Return the search on the data that the configuration names.

    Raises:
        InvalidConfig: a searched key or value is invalid, the configuration has what no trial has, or the arm
            needs pooled data and the configuration does not allow pooling.
        NotFound, CorruptArtifact: the partition is missing or damaged.
    """
    if config.data.dir is None:
        raise InvalidConfig(
            "fedrec tune simulates the clients of a partition, but runner.kind is 'silos', which has none.",
            next_step="Tune on a partition of data like the silos', and train with the settings found.",
            key="data.dir",
        )
    if arm == "centralised" and not config.evaluation.pooling_allowed:
        raise InvalidConfig(
            "The centralised arm pools the data, but evaluation.pooling_allowed is false.",
            next_step="Tune the federated arm, or set evaluation.pooling_allowed to true.",
            key="evaluation.pooling_allowed",
        )
    _require_simulated(config, arm)
    search = Search(config, tuning, arm, open_partition(str(config.data.dir)).digest)
    for key, one in tuning.space(arm).items():
        for value in one.choices or (one.low, one.high):
            search.with_values({key: value})
    _require_effects(search)
    return search


def _require_simulated(config: TrainingConfig, arm: Arm) -> None:
    """Raise `InvalidConfig` if the job would train otherwise than a trial, which sums updates of LightFM."""
    if config.privacy.unit is not None:
        raise InvalidConfig(
            "fedrec tune simulates the clients without noise, but the configuration has privacy.unit "
            f"{config.privacy.unit!r}.",
            next_step="Choose the settings of a private job on other people's data, such as public ones.",
            key="privacy.unit",
        )
    _lightfm(config)
    if config.postprocessors:
        raise InvalidConfig(
            "fedrec tune simulates the clients without postprocessors, but the configuration has some.",
            next_step="Tune without them, and train with them.",
            key="postprocessors",
        )
    if arm == "federated" and not config.federation.robust.is_plain:
        raise InvalidConfig(
            "fedrec tune simulates rounds that add up all updates, but federation.robust.method is "
            f"{config.federation.robust.method!r}.",
            next_step="Tune with federation.robust.method none, and train with it.",
            key="federation.robust.method",
        )


def _require_effects(search: Search) -> None:
    """Raise `InvalidConfig` at the first key that has no effect, whatever the search draws beside it."""
    ends = {key: one.choices or (one.low, one.high) for key, one in search.tuning.space(search.arm).items()}
    others = [{}, *({key: value} for key, drawn in ends.items() for value in drawn)]
    for key, found in ends.items():
        name = key.partition(".")[2]
        drawn = [{**other, key: value} for other in others for value in found]
        if key.startswith("train.") and not any(
            getattr(search.with_values(each).train, name) == each[key] for each in drawn
        ):
            raise InvalidConfig(
                f"The search names {key}, which has no effect with the other settings.",
                next_step="Remove it, or search what it depends on as well.",
                key=key,
            )


@task(name="trial", task_run_name="trial-{proposal.number}", cache_policy=NO_CACHE, persist_result=False)
def run_trial(search: Search, study: Study, tracker: StudyTracker, proposal: Proposal) -> None:
    """Run the proposed trial, and add its result to MLflow and to the study."""
    config = search.with_values(proposal.values)
    steps: dict[int, dict[str, float]] = {}
    facts: dict[str, Any] = {}
    best, worth_it = None, True
    seeds = [trial_results(search.trial(config, seed)) for seed in search.tuning.training_seeds]
    try:
        # All seeds advance together, so that each evaluation is a mean over them.
        for each in zip(*seeds, strict=True):
            found = _mean_over_seeds(each)
            reached = objective(found, search.tuning.metrics)
            steps[each[0].epochs] = found | {"objective": reached}
            if best is None or reached > best:
                best, facts = reached, _facts(each, found)
            worth_it = study.report(each[0].epochs, reached)
            if not worth_it:
                break
    except DivergedUpdate as error:
        best, facts = None, {"diverged": str(error)}
    tracker.log_trial(proposal.number, proposal.values, steps, "FINISHED" if worth_it else "KILLED")
    study.finish(best if worth_it else None, facts)


def _mean_over_seeds(each: tuple[TrialResult, ...]) -> dict[str, float]:
    found = [values(as_json(result.metrics)) for result in each]
    return {name: mean(one[name] for one in found) for name in found[0]}


def _facts(each: tuple[TrialResult, ...], found: Mapping[str, float]) -> dict[str, Any]:
    result = each[0]
    return {
        "epochs": result.epochs,
        "rounds": result.rounds,
        "update_bytes": result.update_bytes,
        "metrics": dict(found),
    }


def _line(study: Study) -> str:
    newest, best = study.done[-1], study.best
    outcome = "stopped early" if newest["objective"] is None else f"objective {newest['objective']:.4f}"
    return outcome if best is None else f"{outcome}, best {best['objective']:.4f} (trial {best['trial']})"


def _lightfm(config: TrainingConfig) -> LightFMSpec:
    if not isinstance(config.train, LightFMSpec):
        raise InvalidConfig(
            f"fedrec tune only searches settings of LightFM, but train.family is {config.train.family!r}.",
            next_step="Use a configuration whose train.family is lightfm.",
            key="train.family",
        )
    return config.train
