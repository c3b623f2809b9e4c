"""Federated training as a Prefect flow."""

from __future__ import annotations

from typing import Any

from prefect import State, flow
from prefect.context import FlowRunContext
from prefect.runtime import flow_run
from prefect.states import Failed

from flows.jobs.conclusion import conclude
from flows.jobs.job import Job, open_data, opened
from flows.jobs.prerequisites import import_ahead, memory_line
from flows.jobs.rounds import check_silos, finish_tracking, run_round
from flows.runners.clusters import require_extra
from flows.runners.local_threads import NonWaitingThreads, threads_of
from flows.settings.training_config import TrainingConfig, parse_config
from flows.terminal.progress import announce
from models.errors import ContractViolation, FedrecError, JobStopped, QuorumNotReached
from tasks.local.home import current_home
from tasks.messages.job_result import JobResult
from tasks.messages.record import JsonObject
from tasks.orchestration.artifacts import put_markdown
from tasks.orchestration.exit_codes import label_exit_code
from tasks.orchestration.groups import in_group
from tasks.orchestration.logs import report_own_errors_once, send_run_log
from tasks.orchestration.run_names import named_after
from tasks.orchestration.runs import (
    end_orphaned_runs,
    note_own_run,
    require_server,
    wait_until_recorded,
    without_useless_heartbeats,
)
from tasks.orchestration.server import (
    end_orphaned_servers,
    is_temporary_server_starting,
    note_own_server,
    wait_for_temporary_server,
)
from tasks.reports.job_summary import job_summary
from tasks.tracking.outbox_sender import send_what_waits
from tasks.tracking.pages import mlflow_pages

_THREADS: Any = NonWaitingThreads()


@flow(
    name="federated-training",
    flow_run_name=named_after(lambda parameters: str(parameters["config"].name)),
    description="Trains one recommender over all silos, round after round, and registers every round.",
    task_runner=_THREADS,
    persist_result=False,
    validate_parameters=True,
    on_failure=[label_exit_code],
)
def federated_training(config: TrainingConfig, again: bool = False) -> JsonObject | State[JsonObject]:
    """Commit, track and register all rounds of a job, and return its result as JSON with an `exit_code`.

    An interrupted job continues from its last committed round when the flow runs again with the same
    configuration on the same data. With more rounds than an earlier job, and all else equal, a new job
    continues from the last round that both have in common.

    Args:
        config: the data, the training settings and the limits.
        again: Train all rounds, even if an earlier job with fewer rounds could be continued.

    Raises:
        JobStopped: a round has too few updates, or its model breaks its contract. The previous model is the
            newest, and the flow run is Failed with the reason as its message.
    """
    notes = current_home().prefect
    note_own_run(notes / "flow_runs", str(flow_run.id))
    note_own_server(notes / "servers")
    end_orphaned_runs(notes / "flow_runs")
    send_what_waits(current_home(), announce)
    _use_threads(config)
    parsed = parse_config(config.model_dump(mode="json"), "The flow's parameters")
    with opened(parsed, again=again) as job:
        try:
            return _result(job)
        finally:
            job.runner.abandon(job.late[client_id] for client_id in job.busy)


def run_locally(config: TrainingConfig, *, again: bool = False) -> tuple[JobResult, int]:
    """Run `federated_training` in this process, and return the job's result and the command's exit code."""
    if config.runner.kind == "silos":
        require_server()
    require_extra(config.runner.kind)
    open_data(current_home(), config)  # so that missing data are reported before a server is started
    servers = current_home().prefect / "servers"
    report_own_errors_once()
    end_orphaned_servers(servers)
    if is_temporary_server_starting():
        import_ahead()
        wait_for_temporary_server()
    try:
        with without_useless_heartbeats():
            result: Any = federated_training(config, again)
    except JobStopped as stopped:
        result = stopped.facts["result"]
    send_run_log()
    wait_until_recorded(result["flow_run_id"])
    return JobResult.of_json(result, "The flow's result"), int(result["exit_code"])


def _use_threads(config: TrainingConfig) -> None:
    context = FlowRunContext.get()
    if context is not None and isinstance(context.task_runner, NonWaitingThreads):
        silos = len(config.runner.silos) if config.runner.kind == "gateway" else 0
        # A silo's task only waits.
        context.task_runner.use_threads(silos or threads_of(config.runner.threads))


def _result(job: Job) -> JsonObject | State[JsonObject]:
    try:
        _run(job)
    except (QuorumNotReached, ContractViolation) as stop:
        result = _concluded(job, stop)
        stopped = JobStopped(stop.what, next_step=stop.next_step, exit_code=stop.exit_code, result=result)
        # Not raised, so that the message begins with the reason.
        return Failed(message=str(stop), data=stopped)
    return _concluded(job, None)


def _concluded(job: Job, stop: FedrecError | None) -> JsonObject:
    result = conclude(job, stopped_by=stop)
    page = job_summary(result, _links(job, result))
    put_markdown(f"job-{job.config.name}", page, f"Job {result.job_id}, {result.status}")
    return result.to_json() | {"exit_code": stop.exit_code if stop else 0}


def _links(job: Job, result: JobResult) -> list[tuple[str, str]]:
    """Return what to read in MLflow about the job, as (text, address)."""
    if result.experiment_id is None or result.run_id is None:
        return []
    pages = mlflow_pages(job.home)
    return [
        ("its run in MLflow", pages.run(result.experiment_id, result.run_id)),
        ("all runs beside each other in MLflow", pages.experiment(result.experiment_id)),
    ]


def _run(job: Job) -> None:
    if line := memory_line(job.config, job.partition):
        announce(line)
    finish_tracking(job)
    check_silos(job)
    while job.rounds[-1].round < job.config.federation.rounds:
        in_group(f"round {job.rounds[-1].round + 1}", lambda: run_round(job))
