"""Clients as silos on their own machines: asked through Prefect, answering through the exchange.

A silo pulls its orders, so it needs no open port. What it answers counts once its signature is verified, as
soon as it lies in the exchange; Prefect carries orders, and says whether a run still goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Cancelling

from flows.runners.runner import Late
from flows.runners.silo_runs import impatient_client, is_over, look_at_run, look_at_runs, set_state, start_run
from models.errors import FedrecError, NotFound, SiloFailed
from tasks.coordinator.ask_with_witness import Witnessing
from tasks.coordinator.silo_answers import SiloAnswers
from tasks.coordinator.trust_store import TrustStore
from tasks.exchange.store import ArtifactRef, Exchange
from tasks.jobs.stopwatch import busy_seconds
from tasks.messages.answers import Answer, ClientEvaluation, Delivery
from tasks.messages.orders import ClientOrder
from tasks.messages.steps import Step, StepOrder
from tasks.orchestration.patience import AWAY_S

Runs = dict[str, UUID]

_TIMED = (Delivery, ClientEvaluation)
# So late at most is a run noticed that failed; no answer waits for it.
_LOOK_AT_RUNS_S = 2.0


class LateSilo(Late):
    """A silo whose run of a step goes on, or waits for the silo's worker.

    Args:
        reason: for people.
        flow_run_id: of that run.
    """

    def __init__(self, reason: str, flow_run_id: UUID) -> None:
        super().__init__(reason)
        self.flow_run_id = flow_run_id

    @property
    def is_at_work(self) -> bool:
        """Whether Prefect still has the run as not ended."""
        run = look_at_run(self.flow_run_id)
        return run is not None and not is_over(run)


class RemoteSilos:
    """A runner whose clients are silos with workers of their own.

    Args:
        exchange: where answers come up.
        trust: the silos' public keys.
        items: the job's catalogue in the exchange.
        poll_s: seconds between two looks at the exchange.
        away_s: seconds for which Prefect's server may be away, as while it is restarted.
    """

    def __init__(
        self,
        exchange: Exchange,
        trust: TrustStore,
        items: ArtifactRef,
        poll_s: float,
        away_s: float = AWAY_S,
    ) -> None:
        self._witnessing = Witnessing(trust)
        self._answers = SiloAnswers(exchange, trust, self._witnessing)
        self._trust = trust
        self._items = items
        self._poll_s = poll_s
        self._away_s = away_s
        self.polling_s = 0.0

    def ask(
        self, step: Step, orders: Mapping[str, ClientOrder], deadline_s: float, **arguments: Any
    ) -> dict[str, Any]:
        """What each silo answered to its order; see `flows.runners.runner.Runner`."""
        began = time.monotonic()
        answers: dict[str, Any] = {}
        asked = {}
        for silo, order in orders.items():
            try:
                self._trust.key_of(silo)
                asked[silo] = self._step_order(step, order, arguments)
            except FedrecError as error:
                answers[silo] = error
        found, runs = asyncio.run(self._answered(asked, began + deadline_s))
        answers |= found
        for silo in asked.keys() - answers.keys():
            try:
                # A silo that died once its answer was out has answered, whatever became of its run.
                answers[silo] = self._answers.verified(step, orders[silo])
            except (FedrecError, OSError):
                answers[silo] = (
                    _late(runs[silo], deadline_s)
                    if silo in runs
                    else SiloFailed(f"Prefect took no order for silo {silo!r} within {deadline_s:g} s.")
                )
        self._witnessing.keep()
        spans = [(each.started, each.ended) for each in answers.values() if isinstance(each, _TIMED)]
        self.polling_s += max(0.0, time.monotonic() - began - busy_seconds(spans)) if spans else 0.0
        # In the order of asking, whoever was first: sums of floats depend on it.
        return {silo: answers[silo] for silo in orders}

    def give_up(self, late: Iterable[LateSilo]) -> None:
        """Runs that never answered are cancelled; their workers end them."""
        for each in late:
            with contextlib.suppress(ObjectNotFound):
                set_state(each.flow_run_id, Cancelling())

    def _step_order(self, step: Step, order: ClientOrder, arguments: Mapping[str, Any]) -> StepOrder:
        given = {
            name: value if isinstance(value, int) else asdict(value) for name, value in arguments.items()
        }
        if step == "check":
            given["items"] = asdict(self._items)
        given |= self._witnessing.asking(order.client_id)
        return StepOrder(step, order, given)

    async def _answered(self, asked: Mapping[str, StepOrder], give_up: float) -> tuple[dict[str, Any], Runs]:
        """What silos answered until then, or an exception; and the runs that Prefect has made."""
        # An answer to an earlier try of the same question counts once the run has ended, not before: the silo
        # may be writing anew what was lost since.
        known = {silo: self._answers.there(each.step, each.order) for silo, each in asked.items()}
        answers: dict[str, Any] = {}
        runs: Runs = {}
        # It is cancelled by asyncio.run.
        following = asyncio.create_task(self._follow(asked, runs, answers))
        while len(answers) < len(asked) and time.monotonic() < give_up:
            await asyncio.wait([following], timeout=self._poll_s)
            if following.done():
                following.result()
            for silo in asked.keys() - answers.keys():
                answer = self._answers.new(asked[silo].step, asked[silo].order, known[silo])
                if answer is not None:
                    answers[silo] = answer
        return answers, runs

    async def _follow(self, asked: Mapping[str, StepOrder], runs: Runs, answers: dict[str, Any]) -> None:
        """Runs are made; which cannot be made or have ended is noted among the answers."""
        async with impatient_client() as client:
            # One after the other: at once they would lock each other out of a SQLite database, for seconds.
            for silo, each in asked.items():
                try:
                    runs[silo] = await start_run(client, each, self._away_s)
                except ObjectNotFound as error:
                    answers[silo] = error
            while True:
                await asyncio.sleep(_LOOK_AT_RUNS_S)
                wanted = {silo: run_id for silo, run_id in runs.items() if silo not in answers}
                found = await look_at_runs(client, wanted.values(), self._away_s)
                for silo, run_id in wanted.items():
                    run = found.get(run_id)
                    if silo not in answers and (run is None or is_over(run)):
                        answers[silo] = self._answer(asked[silo], run)

    def _answer(self, asked: StepOrder, run: FlowRun | None) -> Answer | FedrecError:
        """What an ended run answered."""
        silo, step = asked.order.client_id, asked.step
        try:
            # A silo that died once its answer was out has answered, whatever became of its run.
            return self._answers.verified(step, asked.order)
        except NotFound as error:
            if run is not None and run.state is not None and run.state.is_completed():
                return error
            what = f"{run.state.name}: {run.state.message}" if run and run.state else "its run is gone"
            return SiloFailed(f"Silo {silo!r} did not finish {step!r}: {what}")
        except FedrecError as error:
            return error
        except OSError as error:
            # Its part of the exchange cannot be read: that costs the silo its round, and nobody else's.
            return SiloFailed(f"The answer of silo {silo!r} to {step!r} cannot be read: {error}")


def _late(run_id: UUID, deadline_s: float) -> LateSilo:
    """The silo is late; a run that was not even begun is called off, so that it can be asked anew."""
    reason = f"no answer within {deadline_s:g} s"
    run = look_at_run(run_id)
    if run is not None and run.state is not None and (run.state.is_scheduled() or run.state.is_pending()):
        set_state(run_id, Cancelled(message="Not begun before the deadline."))
        reason += "; its worker did not begin"
    return LateSilo(reason, run_id)
