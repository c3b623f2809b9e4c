"""Housekeeping as a flow, so that it runs at night and Prefect shows its outcome."""

from __future__ import annotations

from typing import Annotated

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from pydantic import Field

from flows.terminal.progress import announce
from tasks.coordinator import housekeeping as shell
from tasks.exchange.store import Exchange
from tasks.local import environment
from tasks.local.home import Home
from tasks.messages.record import JsonObject
from tasks.orchestration import runs as prefect_runs
from tasks.orchestration.exit_codes import label_exit_code
from tasks.orchestration.server import end_orphaned_servers
from tasks.promotion import retention
from tasks.tracking import outbox_sender, registry
from tasks.tracking import run_tracker as tracking

clear_exchange = task(name="remove superseded models", cache_policy=NO_CACHE)(shell.clear_exchange)
send_what_waits = task(name="send waiting messages to MLflow", cache_policy=NO_CACHE)(
    outbox_sender.send_what_waits
)
remove_old_rounds = task(name="remove old rounds from MLflow", cache_policy=NO_CACHE)(
    retention.remove_old_rounds
)
clear_silo_parts = task(name="remove old answers of silos", cache_policy=NO_CACHE)(shell.clear_silo_parts)
prune_reports = task(name="remove old reports", cache_policy=NO_CACHE)(shell.prune_reports)


@flow(name="housekeeping", validate_parameters=True, on_failure=[label_exit_code])
def housekeeping(
    keep_jobs: Annotated[int, Field(ge=0)] = 20,
    keep_rounds: Annotated[int, Field(ge=1)] | None = None,
    dry_run: bool = False,
) -> JsonObject:
    """Correct the records of dead processes, and remove files that finished jobs no longer need.

    Messages that jobs could not send are sent to MLflow. Those that it refuses are set aside. Jobs whose
    process is gone become KILLED in MLflow and CRASHED in Prefect, and servers that they started for
    themselves are stopped. Finished jobs keep their journal, their last model and every served model.
    Superseded models are removed from the exchange, and reports of old jobs from the disk. MLflow has copies
    of both. So are the answers that silos behind the gateway gave in old jobs. A job whose journal is damaged
    is left alone. The outcome names it, and refused messages.

    With `keep_rounds`, versions and models of older rounds are also removed from MLflow. What is, was or may
    become champion stays, and so do versions with any alias.

    Args:
        keep_jobs: number of the newest finished jobs whose report and answers of silos stay on disk.
        keep_rounds: number of the newest rounds of each finished job whose version and model stay in MLflow;
            None to keep all of them.
        dry_run: only return which rounds would be removed from MLflow. Nothing at all is changed.
    """
    home = environment.apply()
    if dry_run:
        return {"dry_run": True, "rounds_removed": _old_rounds(home, keep_rounds, dry_run=True)}
    refused: list[str] = []
    sent = send_what_waits(home, refused.append)
    for line in refused:
        announce(line)
    ended = end_what_died(home)
    finished, damaged = shell.finished_jobs(home)
    keep = shell.serving_models(registry.client(home)) | shell.models_at_work(home)
    exchange = Exchange(home.exchange.as_uri())
    return {
        "told_late": [*sent],
        "refused": [*refused],
        "damaged": [*damaged],
        **ended,
        "models_removed": sum(clear_exchange(exchange, each, keep) for each in finished),
        "answers_removed": [*clear_silo_parts(home, finished, keep_jobs)],
        "reports_removed": [*prune_reports(finished, keep_jobs)],
        "rounds_removed": _old_rounds(home, keep_rounds, dry_run=False),
    }


def _old_rounds(home: Home, keep: int | None, *, dry_run: bool) -> JsonObject:
    """Remove old rounds from MLflow, and return job -> its removed rounds."""
    if keep is None:
        return {}
    client = registry.client(home)
    finished, _ = shell.finished_jobs(home)
    removed = remove_old_rounds(home, client, finished, keep, dry_run=dry_run)
    return {job_id: [*rounds] for job_id, rounds in removed.items()}


@task(name="end runs of dead processes", cache_policy=NO_CACHE)
def end_what_died(home: Home) -> JsonObject:
    """End runs, flow runs and servers whose process is gone; return which."""
    notes = home.prefect
    return {
        "killed_jobs": [*tracking.end_orphans(registry.client(home), home)],
        "crashed_flow_runs": [*prefect_runs.end_orphaned_runs(notes / "flow_runs")],
        "ended_servers": [*end_orphaned_servers(notes / "servers")],
    }
