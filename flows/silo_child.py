"""One run of a silo's step, in a child of its own. Importing this imports all that a round needs."""

from __future__ import annotations

from uuid import UUID

from prefect.engine import handle_engine_signals
from prefect.flow_engine import load_flow_run, run_flow
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from flows.silo import silo_step


def perform(flow_run_id: UUID) -> None:
    """The run has ended and Prefect knows how; a step that failed is told so there, not by the exit code."""
    run = load_flow_run(flow_run_id)
    # The worker says that the run lives.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}), handle_engine_signals(flow_run_id):
        run_flow(silo_step, flow_run=run)
