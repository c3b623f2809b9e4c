"""A running job: opened or resumed from its journal, and closed in every case."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
from prefect.runtime import flow_run

from flows.jobs.chosen_runner import runner_of
from flows.jobs.client_orders import orders_of
from flows.jobs.continuation import branches_of, taking_over, tell_of_job_left
from flows.jobs.downloads import Downloads
from flows.jobs.job_context import job_context
from flows.jobs.prerequisites import import_ahead, require_memory, require_participants, require_ratings
from flows.jobs.privacy import charge, charging, guarantee_of, is_charged, tell
from flows.jobs.secure_sums import SecureSums
from flows.jobs.tracking import Tracking
from flows.runners.runner import Late, Runner
from flows.settings.parameters import differing, parameters_of
from flows.settings.training_config import TrainingConfig
from flows.terminal.progress import announce
from models.errors import JobBusy, NotFound
from models.federation.merge import MergeRule
from models.federation.rounds import Rejection
from models.recommenders.families.registry import family_of
from tasks.coordinator.initial_model import InitialModel, fresh_model, model_of_champion
from tasks.coordinator.lineage import contexts_of_silos
from tasks.datasets.membership import open_membership
from tasks.datasets.partition_reader import Partition, item_features, open_partition, read_items
from tasks.exchange.layout import models_folder
from tasks.exchange.store import ArtifactRef
from tasks.jobs.journal import Journal, fingerprint, finished, held
from tasks.jobs.machine_monitor import MachineMonitor, is_measured
from tasks.jobs.stopwatch import Stopwatch
from tasks.local.disk_full import disk_full, is_disk_full
from tasks.local.environment import apply
from tasks.local.home import Home
from tasks.messages.answers import Checked
from tasks.messages.earlier_training import EarlierTraining
from tasks.messages.job_opening import JobOpening
from tasks.messages.job_result import JobResult
from tasks.messages.orders import JobContext
from tasks.messages.outbox_messages import OutboxMessage
from tasks.messages.record import as_json_value
from tasks.messages.round_record import RoundRecord
from tasks.messages.steps import Step
from tasks.messages.sum_orders import SumOrder
from tasks.promotion.served import chosen
from tasks.tracking.descriptions import continued_line
from tasks.tracking.experiments import require_experiment
from tasks.tracking.outage import reason_of
from tasks.tracking.outbox_sender import OutboxSender
from tasks.tracking.registry import CHAMPION
from tasks.tracking.run_tracker import git_revision


@dataclass
class Job:
    """The state that the steps of a job share.

    Attributes:
        home: the coordinator's home.
        config: the configuration.
        partition: the clients' data, of which the coordinator reads only names and digests.
        journal: the job's folder, held by this process.
        sender: sends the job's messages to MLflow.
        tracking: lets the sender send beside the job.
        context: the part of an order that every client gets.
        rounds: records of the committed rounds, from round 0 on.
        unfit: client id -> why its data broke the interactions contract.
        checked: client id -> its answer about its data.
        late: client id -> its newest missed answer.
        clock: wall seconds of this process by activity.
        training_cpu_s: CPU seconds of the clients' training so far, in this process.
        resumed: whether an earlier process began this job.
        runner: runs the clients' steps.
        branches: rounds of this job from which a longer one continues, or could continue later.
        machine: measures this machine; None unless the configuration asks for it.
        earlier: the training of the champion that the job started from; None for a fresh model.
        downloads: what silos behind a gateway have and fetch.
    """

    home: Home
    config: TrainingConfig
    partition: Partition
    journal: Journal
    sender: OutboxSender
    tracking: Tracking
    context: JobContext
    rounds: list[RoundRecord]
    resumed: bool
    runner: Runner
    branches: tuple[int, ...] = ()
    unfit: dict[str, Rejection] = field(default_factory=dict)
    checked: dict[str, Checked] = field(default_factory=dict)
    late: dict[str, Late] = field(default_factory=dict)
    clock: Stopwatch = field(default_factory=Stopwatch)
    training_cpu_s: float = 0.0
    machine: MachineMonitor | None = None
    earlier: EarlierTraining | None = None
    downloads: Downloads = field(default_factory=Downloads)

    @property
    def done(self) -> float:
        """Return the share of the training before the job's next round, in [0, 1]."""
        return self.rounds[-1].round / self.config.federation.rounds

    @property
    def rule(self) -> MergeRule[Any, Any]:
        """Return the merge rule of the job's next round."""
        return self.context.family.rule(self.done, self.config.seed)

    @property
    def has_figures(self) -> bool:
        """Return whether its models are evaluated."""
        return self.context.noise is None or self.context.noise.figures_share > 0.0

    @property
    def offers_steps(self) -> bool:
        """Return whether the clients can make a model from a round's sum: only silos' agents do."""
        return self.config.runner.kind == "gateway"

    @property
    def flow_run_id(self) -> str:
        """Return the id of the Prefect flow run of this job."""
        return str(flow_run.id)

    @property
    def client_ids(self) -> tuple[str, ...]:
        """Return the ids of all clients, sorted."""
        return tuple(client.id for client in self.partition.clients)

    @property
    def base(self) -> ArtifactRef:
        """Return the reference of the newest committed model."""
        return self.rounds[-1].model

    @cached_property
    def items(self) -> pd.DataFrame:
        """Return the item catalogue, as `read_items` does. It is read once.

        Raises:
            CorruptArtifact: the catalogue is damaged.
        """
        return read_items(self.partition)

    @property
    def busy(self) -> dict[str, Rejection]:
        """Return the clients that still work on an earlier step, and why they get no order."""
        at_work = sorted(client_id for client_id, late in self.late.items() if late.is_at_work)
        return {each: Rejection(each, "deadline", "it still works on an earlier order") for each in at_work}

    @property
    def reachable(self) -> tuple[str, ...]:
        """Return the clients that can take an order now, sorted."""
        return tuple(sorted(set(self.client_ids) - self.unfit.keys() - self.busy.keys()))

    def send(self, message: OutboxMessage) -> None:
        """Let a message to MLflow wait in the outbox, from which it is sent beside the job."""
        self.tracking.send(message, self.clock)

    @cached_property
    def sums(self) -> SecureSums | None:
        """Return the job's secure sums; None without them. The first use asks the clients for their keys."""
        return SecureSums(self) if self.config.privacy.secure_sum else None

    def ask(
        self,
        step: Step,
        client_ids: Iterable[str],
        sums: Mapping[str, SumOrder] = MappingProxyType({}),
        **arguments: Any,
    ) -> dict[str, Any]:
        """Return each client's answer before the deadline, as `flows.runners.runner.Runner.ask` does.

        Args:
            step: what the clients do.
            client_ids: the clients.
            sums: client id -> the part of its order that concerns secure sums.
            **arguments: further arguments of the step.

        Raises:
            OSError: the disk is full.
        """
        orders = {
            client_id: replace(order, sum=sums.get(client_id))
            for client_id, order in orders_of(self, step, tuple(client_ids)).items()
        }
        found = self.runner.ask(step, orders, self.config.federation.deadline_s, **arguments)
        for answer in found.values():
            # The coordinator's own disk is full, so no client is at fault.
            if is_disk_full(answer):
                raise answer
        answered = [name for name, answer in found.items() if not isinstance(answer, (Late, Exception))]
        self.downloads.note_answers(answered, self.base)
        self.late |= {client_id: answer for client_id, answer in found.items() if isinstance(answer, Late)}
        return found

    @contextlib.contextmanager
    def polling(self, clock: Stopwatch, out_of: str | None = None) -> Iterator[None]:
        """Count the wait for silos inside the block as polling instead of as `out_of`."""
        before = self.runner.polling_s
        yield
        if waited := self.runner.polling_s - before:
            clock.add("polling", waited)
            if out_of:
                clock.add(out_of, -waited)

    @cached_property
    def contexts(self) -> Mapping[str, JobContext]:
        """Return each client's part of the order that is the same in all rounds."""
        if self.config.runner.has_silos:
            return contexts_of_silos(self.home, self.context, self.client_ids)
        return dict.fromkeys(self.client_ids, self.context)


def open_data(home: Home, config: TrainingConfig) -> Partition:
    """Return the data as the coordinator sees them: a local partition, or the names of remote silos.

    Raises:
        NotFound, CorruptArtifact, InvalidInput: the data are missing, damaged, or break a rule, there are too
            few clients, or one never enrolled.
    """
    if config.runner.has_silos:
        partition = open_membership(home, Path(str(config.data.items)), config.runner.silos)
    else:
        partition = open_partition(str(config.data.dir))
        require_ratings(config, partition)
    require_participants(home, config, partition)
    return partition


def finished_before(config: TrainingConfig) -> JobResult | None:
    """Return the result of an earlier job with this configuration, data and initial model, if it is finished.

    Raises:
        NotFound, CorruptArtifact, InvalidInput: as `open_data`.
    """
    home = apply()
    return finished(home.jobs, config.name, _beginning(home, config)[2])


@contextlib.contextmanager
def opened(config: TrainingConfig, *, again: bool = False) -> Iterator[Job]:
    """Hold the unfinished job of this configuration and data, or a new job, for this process alone.

    Args:
        config: the configuration.
        again: whether the job trains all its rounds. Otherwise a new job takes over the rounds that it has in
            common with a shorter one of the home.

    Raises:
        NotFound, CorruptArtifact: the partition is missing or damaged.
        InvalidConfig: the job's experiment was deleted in MLflow, or the memory is too small.
        JobBusy: another process works on the job, or has taken it over within the block (LeaseLost).
        BudgetExceeded: the job's account has too little left of its budget.
    """
    home, clock = apply(), Stopwatch()
    with clock.measure("startup"):
        partition, initial, key = _beginning(home, config)
        require_experiment(home, config.name)
        family, rounds = family_of(config.train), config.federation.rounds
        opening = JobOpening(
            config=config.model_dump(mode="json"),
            data_digest=partition.digest,
            git_revision=git_revision(),
            opened_at=_now(),
            starting_points=initial.starting_points,
            differing=differing(config),
            parameters=parameters_of(config),
            quality=family.judgement.quality,
            series=fingerprint(
                config.deciding(rounds=False),
                partition.digest,
                initial.sha256,
                as_json_value(initial.starting_points),
            ),
            shared_rounds=family.shared_rounds(rounds, rounds + 1, config.seed),
        )
    take_over = None if again else taking_over(home, config, partition)
    promised = guarantee_of(config, tuple(client.id for client in partition.clients))
    if promised:
        take_over = charging(home, promised)
    is_used = partial(is_charged, home, promised)
    with held(home.jobs, config.name, key, opening, config.runner.lease_s, take_over, is_used) as journal:
        with clock.measure("startup"):
            charge(home, journal.job_id, journal.opening)
            job = _job(home, config, partition, journal, initial)
            import_ahead()
        job.clock = clock
        job.machine = MachineMonitor() if is_measured(config.runner.system_metrics) else None
        try:
            with job.tracking.background:
                yield job
        except JobBusy:
            raise  # the job and its run now belong to another process
        except BaseException as error:
            job.sender.end("FAILED", f"The job failed: {reason_of(error)}.", reason_of(error))
            if isinstance(error, OSError) and is_disk_full(error):
                raise disk_full(error, home.root) from error
            raise
        finally:
            if job.machine:
                job.machine.stop()


def _beginning(home: Home, config: TrainingConfig) -> tuple[Partition, InitialModel, str]:
    """Return the data, the initial model, and the key of the jobs that train it with this configuration."""
    partition = open_data(home, config)
    require_memory(config, partition)
    initial = _initial_model(home, config, partition)
    return partition, initial, fingerprint(config.deciding(), partition.digest, initial.sha256)


def _job(
    home: Home, config: TrainingConfig, partition: Partition, journal: Journal, initial: InitialModel
) -> Job:
    privacy = journal.opening.privacy
    context = job_context(home, config, partition, journal.job_id, initial.earlier, privacy)
    rounds = journal.committed()
    sender = OutboxSender(home, journal, context.exchange, str(flow_run.id))
    job = Job(
        home,
        config,
        partition,
        journal,
        sender,
        Tracking(journal.job_id, sender),
        context,
        rounds,
        bool(rounds),
        runner_of(config, home, context, partition),
        branches_of(home, config, journal),
        earlier=initial.earlier,
    )
    if not rounds:
        job.rounds = [_commit_round_0(job, initial)]
    job.sender.open(config.model_dump(mode="json"), partition.items_path)
    continued, newest = journal.opening.continued, job.rounds[-1].round
    if continued and continued.round == newest:
        announce(continued_line(continued, config.federation.rounds, f"Job {journal.job_id}"))
    elif job.resumed:
        announce(f"Job {journal.job_id} continues after round {newest}.")
    else:
        if config.start_from == "champion":
            tell_of_job_left(home, config, partition, journal.job_id)
        announce(f"Job {journal.job_id} begins.")
    if privacy:
        tell(privacy)
    return job


def _commit_round_0(job: Job, initial: InitialModel) -> RoundRecord:
    ref = job.context.exchange.put(models_folder(job.journal.job_id), initial.data)
    record = RoundRecord(
        job_id=job.journal.job_id,
        round=0,
        model_path=ref.path,
        model_sha256=ref.sha256,
        model_bytes=ref.size,
        base_sha256=None,
        catalog_digest=job.partition.catalog.digest,
        data_digest=job.partition.digest,
        accepted=(),
        rejected=(),
        contracts={},
        training={},
        lease=job.journal.token,
        committed_at=_now(),
        earlier=initial.earlier,
        evaluation_seed=job.config.evaluation.seed,
    )
    job.journal.commit(record)
    return record


def _initial_model(home: Home, config: TrainingConfig, partition: Partition) -> InitialModel:
    family = family_of(config.train).with_features(item_features(partition))
    if config.start_from == "champion":
        try:
            name, version = chosen(home, config.model_name, CHAMPION)
        except NotFound as none:
            step = f"{none.next_step} Or train once with start_from: fresh.".strip()
            raise NotFound(none.what, next_step=step, **none.facts) from None
        return model_of_champion(home, name, version, partition.catalog, family, config.seed)
    return fresh_model(partition.catalog, family, config.seed)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
