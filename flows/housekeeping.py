"""Housekeeping as a flow, so that it runs at night and its outcome stands in Prefect."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from pydantic import Field

from tasks.coordinator import housekeeping as shell
from tasks.exchange.store import Exchange
from tasks.local import environment
from tasks.local.home import Home
from tasks.orchestration import runs as prefect_runs
from tasks.tracking import outbox_sender as relay
from tasks.tracking import registry
from tasks.tracking import run_tracker as tracking

clear_exchange = task(name="remove superseded models", cache_policy=NO_CACHE)(shell.clear_exchange)
send_what_waits = task(name="tell MLflow what waits", cache_policy=NO_CACHE)(relay.send_what_waits)
prune_reports = task(name="remove old reports", cache_policy=NO_CACHE)(shell.prune_reports)


@flow(name="housekeeping", validate_parameters=True)
def housekeeping(keep_jobs: Annotated[int, Field(ge=0)] = 20) -> dict[str, Any]:
    """The records of what died are true, and finished jobs take no more room than they need.

    MLflow is told what jobs could not tell it while it was away. Jobs whose process is gone are KILLED in
    MLflow and CRASHED in Prefect, and servers that they started for themselves end. Finished jobs keep their
    journal, their last model and whatever serves; superseded models leave the exchange, and old jobs' reports
    leave the disk. MLflow has copies of both.

    Args:
        keep_jobs: how many of the newest finished jobs keep their report on disk.
    """
    home = environment.apply()
    outcome: dict[str, Any] = {"told_late": send_what_waits(home)} | end_what_died(home)
    finished = shell.finished_jobs(home)
    keep = shell.serving_models(registry.client(home))
    exchange = Exchange(home.exchange.as_uri())
    outcome["models_removed"] = sum(clear_exchange(exchange, each, keep) for each in finished)
    outcome["reports_removed"] = prune_reports(finished, keep_jobs)
    return outcome


@task(name="end what died", cache_policy=NO_CACHE)
def end_what_died(home: Home) -> dict[str, Any]:
    """Runs, flow runs and servers whose process is gone have ended; returns which."""
    notes = home.prefect
    return {
        "killed_jobs": tracking.end_orphans(registry.client(home), home),
        "crashed_flow_runs": _settled(notes / "flow_runs", prefect_runs.end_orphaned_runs),
        "ended_servers": _settled(notes / "servers", prefect_runs.end_orphaned_servers),
    }


def _settled(folder: Path, step: Callable[[Path], None]) -> list[str]:
    """Names of the notes that the step has settled."""
    before = {path.stem for path in folder.glob("*.json")}
    step(folder)
    return sorted(before - {path.stem for path in folder.glob("*.json")})
