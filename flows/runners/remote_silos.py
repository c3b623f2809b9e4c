"""A runner whose clients are silos on their own machines, which get orders from Prefect.

A silo pulls its orders, so it needs no open port. It puts its signed answer into the exchange, where the
coordinator finds and verifies it. Prefect carries the orders and knows whether a run has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Cancelling

from flows.runners.runner import Late
from flows.runners.silo_runner import SiloRunner
from flows.runners.silo_runs import (
    client_without_retries,
    has_ended,
    read_run,
    read_runs,
    set_state,
    start_run,
)
from models.errors import FedrecError, NotFound, SiloFailed
from tasks.coordinator.trust_store import TrustStore
from tasks.exchange.store import ArtifactRef, Exchange
from tasks.messages.answers import Answer, ClientEvaluation, Delivery
from tasks.messages.steps import StepOrder
from tasks.orchestration.retries import AWAY_S

Runs = dict[str, UUID]

_TIMED = (Delivery, ClientEvaluation)
# Seconds between two reads of the runs' states, so a failed run is noticed within this time. Answers come
# from the exchange and do not wait for it.
_READ_RUNS_S = 2.0


class LateSilo(Late):
    """A silo that missed the deadline and whose run continues or waits for the silo's worker.

    Args:
        reason: for people.
        flow_run_id: of that run.
    """

    def __init__(self, reason: str, flow_run_id: UUID) -> None:
        super().__init__(reason)
        self.flow_run_id = flow_run_id

    @property
    def is_at_work(self) -> bool:
        """Whether the run has not ended yet, according to Prefect."""
        run = read_run(self.flow_run_id)
        return run is not None and not has_ended(run)


class RemoteSilos(SiloRunner[UUID]):
    """A runner whose clients are silos with their own workers.

    Args:
        exchange: the exchange in which silos put their answers.
        trust: the silos' public keys.
        items: the job's catalogue in the exchange.
        poll_s: seconds between two reads of the exchange.
        away_s: seconds for which Prefect's server may be away, as during a restart.
    """

    def __init__(
        self,
        exchange: Exchange,
        trust: TrustStore,
        items: ArtifactRef,
        poll_s: float,
        away_s: float = AWAY_S,
    ) -> None:
        super().__init__(exchange, trust, items)
        self._poll_s = poll_s
        self._away_s = away_s

    def abandon(self, late: Iterable[LateSilo]) -> None:
        """Cancel the runs of these silos; their workers end them."""
        for each in late:
            with contextlib.suppress(ObjectNotFound):
                set_state(each.flow_run_id, Cancelling())

    def _collect(self, step_orders: Mapping[str, StepOrder], deadline: float) -> tuple[dict[str, Any], Runs]:
        return asyncio.run(self._collected(step_orders, deadline))

    def _missed(self, silo: str, ticket: UUID | None, deadline_s: float) -> Any:
        if ticket is not None:
            return _late(ticket, deadline_s)
        return SiloFailed(f"Prefect did not accept the order for silo {silo!r} within {deadline_s:g} s.")

    async def _collected(
        self, step_orders: Mapping[str, StepOrder], deadline: float
    ) -> tuple[dict[str, Any], Runs]:
        """Start the runs and return (the answers or exceptions that arrive before the deadline, the runs)."""
        # The answer to an earlier attempt at the same order counts only when the run has ended, because the
        # silo may be writing an update again that was lost since.
        known = {
            silo: self._answers.list_objects(each.step, each.order) for silo, each in step_orders.items()
        }
        answers: dict[str, Any] = {}
        runs: Runs = {}
        # asyncio.run cancels it.
        following = asyncio.create_task(self._follow(step_orders, runs, answers))
        while len(answers) < len(step_orders) and time.monotonic() < deadline:
            await asyncio.wait([following], timeout=self._poll_s)
            if following.done():
                following.result()
            for silo in step_orders.keys() - answers.keys():
                each = step_orders[silo]
                answer = self._answers.find_new(each.step, each.order, known[silo])
                if answer is not None:
                    answers[silo] = answer
        return answers, runs

    async def _follow(
        self, step_orders: Mapping[str, StepOrder], runs: Runs, answers: dict[str, Any]
    ) -> None:
        """Start the runs, and add to the answers what comes of runs that cannot be started or have ended."""
        async with client_without_retries() as client:
            # One at a time: simultaneous writes would lock a SQLite database for seconds.
            for silo, each in step_orders.items():
                try:
                    runs[silo] = await start_run(client, each, self._away_s)
                except ObjectNotFound as error:
                    answers[silo] = error
            while True:
                await asyncio.sleep(_READ_RUNS_S)
                wanted = {silo: run_id for silo, run_id in runs.items() if silo not in answers}
                found = await read_runs(client, wanted.values(), self._away_s)
                for silo, run_id in wanted.items():
                    run = found.get(run_id)
                    if silo not in answers and (run is None or has_ended(run)):
                        answers[silo] = self._answer(step_orders[silo], run)

    def _answer(self, step_order: StepOrder, run: FlowRun | None) -> Answer | FedrecError:
        """Return the answer of a run that has ended, or an error."""
        silo, step = step_order.order.client_id, step_order.step
        try:
            # A silo that died after it sent its answer has answered, whatever the state of its run.
            return self._answers.read_verified(step, step_order.order)
        except NotFound as error:
            if run is not None and run.state is not None and run.state.is_completed():
                return error
            what = f"{run.state.name}: {run.state.message}" if run and run.state else "Prefect lost its run"
            return SiloFailed(f"Silo {silo!r} did not finish {step!r}: {what}")
        except FedrecError as error:
            return error
        except OSError as error:
            # An unreadable part of the exchange costs only its own silo the round.
            return SiloFailed(f"The answer of silo {silo!r} to {step!r} cannot be read: {error}")


def _late(run_id: UUID, deadline_s: float) -> LateSilo:
    """Return the late silo; cancels a run that has not begun, so that the silo can get a new order."""
    reason = f"no answer within {deadline_s:g} s"
    run = read_run(run_id)
    if run is not None and run.state is not None and (run.state.is_scheduled() or run.state.is_pending()):
        set_state(run_id, Cancelled(message="It did not begin before the deadline."))
        reason += "; its worker did not begin"
    return LateSilo(reason, run_id)
