"""Federated training as a Prefect flow."""

from __future__ import annotations

import os
from typing import Any

from prefect import State, flow
from prefect.context import FlowRunContext
from prefect.runtime import flow_run
from prefect.states import Completed

from flows.jobs.conclusion import conclude
from flows.jobs.job import Job, open_data, opened
from flows.jobs.rounds import check_silos, finish_tracking, run_round
from flows.runners.local_threads import NonWaitingThreads
from flows.settings.training_config import TrainingConfig, parse_config
from flows.terminal.progress import announce
from models.errors import ContractViolation, InvalidConfig, QuorumNotReached
from tasks.local.home import current_home
from tasks.messages.job_result import JobResult
from tasks.messages.record import JsonObject
from tasks.orchestration.logs import report_own_errors_once
from tasks.orchestration.runs import (
    end_orphaned_runs,
    end_orphaned_servers,
    note_own_run,
    note_own_server,
    wait_until_recorded,
)
from tasks.tracking.outbox_sender import send_what_waits


@flow(
    name="federated-training",
    flow_run_name="{config.name}",
    description="Trains one recommender over all silos, round after round, and registers every round.",
    persist_result=False,
    validate_parameters=True,
)
def federated_training(config: TrainingConfig) -> JsonObject | State[JsonObject]:
    """Commit, track and register all rounds of a job, and return its result as JSON with an `exit_code`.

    An interrupted job continues from its last committed round when the flow runs again with the same
    configuration on the same data. If a round has too few updates, or its model breaks its contract, the job
    stops with the previous model as the newest. The flow run's state is then named "Stopped".

    Args:
        config: the data, the training settings and the limits.
    """
    notes = current_home().prefect
    note_own_run(notes / "flow_runs", str(flow_run.id))
    note_own_server(notes / "servers")
    end_orphaned_runs(notes / "flow_runs")
    send_what_waits(current_home(), announce)
    _require_own_threads(config)
    with opened(parse_config(config.model_dump(mode="json"), "The flow's parameters")) as job:
        try:
            return _result(job)
        finally:
            job.runner.abandon(job.late[client_id] for client_id in job.at_work)


def run_locally(config: TrainingConfig) -> tuple[JobResult, int]:
    """Run `federated_training` in this process, and return the job's result and the command's exit code."""
    open_data(current_home(), config)  # so that missing data are reported before a server is started
    servers = current_home().prefect / "servers"
    report_own_errors_once()
    end_orphaned_servers(servers)
    runner: Any = NonWaitingThreads(max_workers=config.runner.threads or os.cpu_count())
    result: Any = federated_training.with_options(task_runner=runner)(config)
    wait_until_recorded(result["flow_run_id"])
    return JobResult.of_json(result, "The flow's result"), int(result["exit_code"])


def _require_own_threads(config: TrainingConfig) -> None:
    """Raise `InvalidConfig` if the configuration sets the threads of a deployment, which Prefect creates."""
    context = FlowRunContext.get()
    own = context is None or isinstance(context.task_runner, NonWaitingThreads)
    if config.runner.threads is not None and not own:
        raise InvalidConfig(
            f"runner.threads {config.runner.threads} has no effect in a deployment.",
            next_step="Remove it, and set PREFECT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS for the worker.",
            key="runner.threads",
        )


def _result(job: Job) -> JsonObject | State[JsonObject]:
    try:
        _run(job)
    except (QuorumNotReached, ContractViolation) as stop:
        result = conclude(job, stopped_by=stop).to_json() | {"exit_code": stop.exit_code}
        return Completed(name="Stopped", message=str(stop), data=result)
    return conclude(job, stopped_by=None).to_json() | {"exit_code": 0}


def _run(job: Job) -> None:
    finish_tracking(job)
    check_silos(job)
    while job.rounds[-1].round < job.config.federation.rounds:
        run_round(job)
