"""A study of Optuna (Akiba et al. 2019) whose trials survive a crash and are not changed by one.

The trials are in a journal below `FEDREC_HOME/tuning`. The sampler gets a new seed for each trial, from the
number of finished trials. An interrupted search therefore proposes the same trials as an uninterrupted one.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from models.errors import JobBusy, SourceUnavailable
from models.kernel.seeds import seed_for

if TYPE_CHECKING:
    import optuna

# Number of trials drawn at random before the sampler uses results, and before any trial is stopped early.
_AT_RANDOM = 10


@dataclass(frozen=True)
class Proposal:
    """The settings of the next trial.

    Attributes:
        number: number of trials finished before it.
        values: key -> value.
    """

    number: int
    values: dict[str, Any]


class Study:
    """The trials of one search, which only this process runs.

    Args:
        study: Optuna's study.
        seed: of the search.
        space: key -> {"choices": [...]} or {"low": a, "high": b, "log": whether}.
        first: values to try first; values outside the space are ignored.
    """

    def __init__(
        self, study: optuna.Study, seed: int, space: Mapping[str, Mapping[str, Any]], first: Mapping[str, Any]
    ) -> None:
        self._study, self._seed, self._space, self._first = study, seed, space, first
        self._trial: optuna.Trial | None = None
        from optuna.trial import TrialState

        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING)):
            # Its process is gone. The same values will be proposed again.
            study.tell(trial.number, state=TrialState.FAIL)

    @property
    def done(self) -> list[dict[str, Any]]:
        """The finished trials, oldest first: values, objective (None if stopped or failed) and facts."""
        from optuna.trial import TrialState

        states = (TrialState.COMPLETE, TrialState.PRUNED)
        return [
            {
                "trial": number,
                "objective": trial.value if trial.state == TrialState.COMPLETE else None,
                "values": dict(trial.params),
                **trial.user_attrs,
            }
            for number, trial in enumerate(self._study.get_trials(deepcopy=False, states=states))
        ]

    @property
    def best(self) -> dict[str, Any] | None:
        """The trial with the highest objective, the earliest of equal ones; None if there is none yet."""
        complete = [trial for trial in self.done if trial["objective"] is not None]
        return max(complete, key=lambda trial: trial["objective"], default=None)

    def propose(self) -> Proposal:
        """Return the next trial."""
        import optuna

        number = len(self.done)
        # Optuna 5 turned both on by default, and would propose other trials for the same seed.
        self._study.sampler = optuna.samplers.TPESampler(
            seed=seed_for(self._seed, "trial", number) % 2**32,
            n_startup_trials=_AT_RANDOM,
            multivariate=False,
            constant_liar=False,
        )
        if number == 0:
            # Optuna would also try values outside the range.
            self._study.enqueue_trial({key: v for key, v in self._first.items() if self._within(key, v)})
        self._trial = self._study.ask()
        values = {key: self._suggested(self._trial, key) for key in sorted(self._space)}
        return Proposal(number, values)

    def report(self, step: int, objective: float) -> bool:
        """Report the trial's objective at this step; returns whether to continue the trial."""
        assert self._trial is not None  # noqa: S101 - propose comes first
        self._trial.report(objective, step)
        return not self._trial.should_prune()

    def finish(self, objective: float | None, facts: Mapping[str, Any]) -> None:
        """Finish the trial.

        Args:
            objective: its result; None if it was stopped early or failed.
            facts: JSON values to store with it.
        """
        from optuna.trial import TrialState

        assert self._trial is not None  # noqa: S101 - propose comes first
        for name, value in facts.items():
            self._trial.set_user_attr(name, value)
        if objective is None:
            self._study.tell(self._trial, state=TrialState.PRUNED)
        else:
            self._study.tell(self._trial, objective)
        self._trial = None

    def _within(self, key: str, value: Any) -> bool:
        wanted = self._space[key]
        if wanted["choices"]:
            return value in wanted["choices"]
        return bool(wanted["low"] <= value <= wanted["high"])

    def _suggested(self, trial: optuna.Trial, key: str) -> Any:
        wanted = self._space[key]
        if wanted["choices"]:
            return trial.suggest_categorical(key, list(wanted["choices"]))
        return trial.suggest_float(key, wanted["low"], wanted["high"], log=wanted["log"])


@contextlib.contextmanager
def opened_study(
    folder: Path, seed: int, space: Mapping[str, Mapping[str, Any]], first: Mapping[str, Any]
) -> Iterator[Study]:
    """Open the study in this folder for this process alone, or create it.

    Raises:
        SourceUnavailable: Optuna is not installed.
        JobBusy: another process is working on the study.
    """
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise SourceUnavailable(
            "fedrec tune needs Optuna, which is not installed.",
            next_step="Install the extra: pip install 'fedrec[tuning]'.",
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise JobBusy(
            f"Another process is working on the study {folder.name}.",
            next_step="Wait for it to finish, or stop it first.",
            study=folder.name,
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study = optuna.create_study(
                storage=JournalStorage(JournalFileBackend(str(folder / "trials.journal"))),
                study_name=folder.name,
                direction="maximize",
                pruner=optuna.pruners.MedianPruner(n_startup_trials=_AT_RANDOM),
                load_if_exists=True,
            )
        yield Study(study, seed, space, first)
    finally:
        lock.release()
