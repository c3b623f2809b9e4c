"""More rounds: a job takes over the rounds that it has in common with a shorter one of the home."""

from __future__ import annotations

from dataclasses import replace

from flows.settings.training_config import TrainingConfig
from flows.terminal.progress import announce
from models.errors import CorruptArtifact, FedrecError, InvalidInput
from models.recommenders.families.registry import family_of
from tasks.clients.client_data import UserStates
from tasks.coordinator.earlier_rounds import (
    EarlierRounds,
    TakenOver,
    continued_rounds,
    shorter_jobs,
    taken_over,
)
from tasks.datasets.partition_reader import Partition
from tasks.exchange.store import Exchange
from tasks.jobs.journal import Journal, TakeOver
from tasks.jobs.lease import busy, left_behind
from tasks.jobs.overview import job_states
from tasks.local.home import Home
from tasks.messages.job_opening import JobOpening

# Number of the newest jobs among which an interrupted one is looked for.
_NEWEST = 20


def taking_over(home: Home, config: TrainingConfig, partition: Partition) -> TakeOver:
    """Return the function by which a new job takes over the first rounds of a shorter job of its series.

    It takes as many rounds as the jobs in the home have in common with it. If what they need is gone or
    damaged, it says so in one line, and the job trains all rounds.
    """

    def take_over(draft: Journal, opening: JobOpening) -> JobOpening:
        found, faults = _in_common(home, config, opening)
        for earlier in found:
            try:
                taken = _taken(home, config, partition, earlier)
            except (FedrecError, OSError) as error:
                faults.append(f"{earlier.journal.job_id} cannot be continued: {error}")
            else:
                taken.write(draft)
                return replace(opening, continued=earlier.continued)
        if faults:
            announce(f"All {opening.rounds} rounds are trained anew. Job {faults[0]}")
        return opening

    return take_over


def branches_of(home: Home, config: TrainingConfig, journal: Journal) -> tuple[int, ...]:
    """Return the rounds of a job whose users the clients must keep for a longer job."""
    if config.runner.has_silos or not family_of(config.train).keeps_users:
        return ()
    shared = journal.opening.shared_rounds
    return tuple(continued_rounds(home.jobs, journal) | ({shared} if shared else set()))


def tell_of_job_left(home: Home, config: TrainingConfig, partition: Partition, job_id: str) -> None:
    """Announce an interrupted job of this configuration and data that started from another champion.

    A new job begins instead, because the initial model is part of what a job is.

    Args:
        home, config, partition: of the new job.
        job_id: the new job.
    """
    own = config.model_dump(mode="json")
    for state in job_states(home, _NEWEST):
        journal = Journal(home.jobs / state.job_id)
        if state.job_id == job_id or state.state != "interrupted":
            continue
        is_same = (journal.opening.config, journal.opening.data_digest) == (own, partition.digest)
        if is_same and (earlier := journal.committed()[0].earlier) is not None:
            announce(
                f"Job {state.job_id}, interrupted after round {state.round}, started from version "
                f"{earlier.version}. The champion is another one now, so a new job begins. The interrupted "
                f"one continues once version {earlier.version} is champion again."
            )


def _in_common(
    home: Home, config: TrainingConfig, opening: JobOpening
) -> tuple[list[EarlierRounds], list[str]]:
    """Return what a job has in common with shorter ones, the most rounds first, and why others have none."""
    family, found, faults = family_of(config.train), [], []
    for journal in reversed(shorter_jobs(home.jobs, opening)):
        shared = family.shared_rounds(journal.opening.rounds, opening.rounds, config.seed)
        try:
            records = journal.committed()
        except (CorruptArtifact, OSError) as error:
            faults.append(f"{journal.job_id} cannot be continued: {error}")
            continue
        if records[1 : shared + 1]:
            found.append(EarlierRounds(journal, records[: shared + 1]))
        elif records[1:]:
            faults.append(
                f"{journal.job_id} of {journal.opening.rounds} rounds has none of them: each round of the "
                f"family {family.name()!r} depends on the number of all."
            )
    # Of equally many, the newest job's.
    return sorted(found, key=lambda each: -len(each.records)), faults


def _taken(home: Home, config: TrainingConfig, partition: Partition, earlier: EarlierRounds) -> TakenOver:
    """Return what a job stores of an earlier job's rounds.

    Raises:
        FedrecError, OSError: another process works on that job, or a part of these rounds cannot be used.
    """
    if config.runner.has_silos:
        raise InvalidInput("silos on other machines take a new snapshot of their data for every job.")
    with left_behind(earlier.journal.folder) as is_left:
        if not is_left:
            raise busy(earlier.journal.folder)
        earlier.require_model(Exchange(config.runner.exchange or home.exchange.as_uri()))
        if family_of(config.train).keeps_users:
            client_ids = [client.id for client in partition.clients]
            for client_id, start in earlier.journal.starting_points(client_ids, earlier.records).items():
                if start.job_id is not None and start.exact:
                    UserStates(home.silos / client_id, start.job_id).read(start.round)
        return taken_over(earlier, rounds=config.federation.rounds, every=config.evaluation.every)
