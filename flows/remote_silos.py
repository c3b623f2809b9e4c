"""Clients as silos on their own machines: asked through Prefect, answering through the exchange.

A silo pulls its orders, so it needs no open port. Prefect carries orders and says whether a run still goes
on; what a silo answers counts only once its signature is verified.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any
from uuid import UUID, uuid4

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Cancelling

from flows.runner import Late
from models.errors import FedrecError, ForgedAnswer, NotFound, SiloFailed
from models.federation.answer import Question
from tasks.answers import MAX_ANSWER_BYTES, open_sealed
from tasks.evaluate_client import Evaluation
from tasks.exchange import ArtifactRef, Exchange
from tasks.orders import ClientOrder
from tasks.prefect_patience import AWAY_S, patiently
from tasks.steps import Answer, Step, StepOrder, answer_of_json, answers_folder, updates_folder
from tasks.stopwatch import busy_seconds
from tasks.train_client import Delivery
from tasks.trust_store import TrustStore

_TIMED = (Delivery, Evaluation)


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
        run = _runs([self.flow_run_id]).get(self.flow_run_id)
        return run is not None and not _is_over(run)


class RemoteSilos:
    """A runner whose clients are silos with workers of their own.

    Args:
        exchange: where answers come up.
        trust: the silos' public keys.
        items: the job's catalogue in the exchange.
        poll_s: seconds between two looks at Prefect.
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
        self._exchange = exchange
        self._trust = trust
        self._items = items
        self._poll_s = poll_s
        self._away_s = away_s
        self.polling_s = 0.0

    def ask(
        self, step: Step, orders: Mapping[str, ClientOrder], deadline_s: float, **arguments: Any
    ) -> dict[str, Any]:
        """What each silo answered to its order; see `flows.runner.Runner`."""
        began = time.monotonic()
        give_up = began + deadline_s
        answers: dict[str, Any] = {}
        running: dict[str, UUID] = {}
        for silo, order in orders.items():
            try:
                running[silo] = self._start(step, order, arguments)
            except (FedrecError, ObjectNotFound) as error:
                answers[silo] = error
        while running and time.monotonic() < give_up:
            time.sleep(self._poll_s)
            runs = _runs(running.values(), self._away_s)
            for silo, run_id in list(running.items()):
                run = runs.get(run_id)
                if run is None or _is_over(run):
                    answers[silo] = self._answer(step, orders[silo], run)
                    del running[silo]
        late = {}
        for silo, run_id in running.items():
            try:
                # A silo that died once its answer was out has answered, whatever became of its run.
                answers[silo] = self._verified(step, orders[silo])
            except (FedrecError, OSError):
                late[silo] = _late(run_id, deadline_s)
        spans = [(each.started, each.ended) for each in answers.values() if isinstance(each, _TIMED)]
        self.polling_s += max(0.0, time.monotonic() - began - busy_seconds(spans)) if spans else 0.0
        found = answers | late
        # In the order of asking, whoever was first: sums of floats depend on it.
        return {silo: found[silo] for silo in orders}

    def give_up(self, late: Iterable[LateSilo]) -> None:
        """Runs that never answered are cancelled; their workers end them."""
        for each in late:
            with contextlib.suppress(ObjectNotFound):
                _set_state(each.flow_run_id, Cancelling())

    def _start(self, step: Step, order: ClientOrder, arguments: Mapping[str, Any]) -> UUID:
        """The id of the run that the silo's worker will pick up.

        Raises:
            NotFound: no key of the silo is trusted.
        """
        self._trust.key_of(order.client_id)
        given = {
            name: value if isinstance(value, int) else asdict(value) for name, value in arguments.items()
        }
        if step == "check":
            given["items"] = asdict(self._items)
        # One run, also where the server went down before it could say that it has made it.
        once = str(uuid4())
        run: Any = patiently(
            lambda: run_deployment(
                f"silo-step/{order.client_id}",
                parameters={"asked": StepOrder(step, order, given).as_json()},
                timeout=0,
                idempotency_key=once,
            ),
            self._away_s,
        )
        return UUID(str(run.id))

    def _answer(self, step: Step, order: ClientOrder, run: FlowRun | None) -> Answer | FedrecError:
        try:
            # A silo that died once its answer was out has answered, whatever became of its run.
            return self._verified(step, order)
        except NotFound as error:
            if run is not None and run.state is not None and run.state.is_completed():
                return error
            what = f"{run.state.name}: {run.state.message}" if run and run.state else "its run is gone"
            return SiloFailed(f"Silo {order.client_id!r} did not finish {step!r}: {what}")
        except FedrecError as error:
            return error
        except OSError as error:
            # Its part of the exchange cannot be read: that costs the silo its round, and nobody else's.
            return SiloFailed(f"The answer of silo {order.client_id!r} to {step!r} cannot be read: {error}")

    def _verified(self, step: Step, order: ClientOrder) -> Answer:
        """The silo's answer to this very order.

        Raises:
            ForgedAnswer, StaleUpdate, CorruptArtifact: what lies there is none.
            NotFound: nothing lies there.
        """
        silo, job_id = order.client_id, order.job.job_id
        question = Question(silo, step, job_id, order.round, order.base.sha256)
        refused: FedrecError = NotFound(
            f"Silo {silo!r} finished {step!r} of round {order.round} but left no answer in the exchange.",
            next_step="Compare the exchange URLs of silo and coordinator.",
        )
        # More than one where the step was asked again after a crash; any that is genuine serves.
        for ref in self._exchange.listed(answers_folder(silo, job_id, order.round, step)):
            try:
                body = open_sealed(self._opened(ref), question, self._trust.key_of(silo))
                return _within_own_folder(answer_of_json(step, silo, body, time.perf_counter()), order)
            except FedrecError as error:
                refused = error
        raise refused

    def _opened(self, ref: ArtifactRef) -> bytes:
        if ref.size > MAX_ANSWER_BYTES:
            raise ForgedAnswer(f"{ref.path} has {ref.size} bytes, at most {MAX_ANSWER_BYTES} are read.")
        return self._exchange.get(ref)


def _within_own_folder(answer: Answer, order: ClientOrder) -> Answer:
    """The answer, which names nothing that another silo wrote.

    Raises:
        ForgedAnswer: it does.
    """
    if isinstance(answer, Delivery):
        folder = updates_folder(order.client_id, order.job.job_id, order.round)
        if answer.update.path != f"{folder}/{answer.update.sha256}.safetensors":
            raise ForgedAnswer(
                f"Silo {order.client_id!r} names {answer.update.path!r} as its update, "
                f"expected one in {folder}."
            )
    return answer


def _late(run_id: UUID, deadline_s: float) -> LateSilo:
    """The silo is late; a run that was not even begun is called off, so that it can be asked anew."""
    reason = f"no answer within {deadline_s:g} s"
    run = _runs([run_id]).get(run_id)
    if run is not None and run.state is not None and (run.state.is_scheduled() or run.state.is_pending()):
        _set_state(run_id, Cancelled(message="Not begun before the deadline."))
        reason += "; its worker did not begin"
    return LateSilo(reason, run_id)


def _runs(run_ids: Iterable[UUID], away_s: float = AWAY_S) -> dict[UUID, FlowRun]:
    wanted = FlowRunFilter(id=FlowRunFilterId(any_=list(run_ids)))

    def read() -> list[FlowRun]:
        with get_client(sync_client=True) as client:
            return client.read_flow_runs(flow_run_filter=wanted)

    return {run.id: run for run in patiently(read, away_s)}


def _set_state(run_id: UUID, state: State) -> None:
    def write() -> None:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(run_id, state, force=True)

    patiently(write)


def _is_over(run: FlowRun) -> bool:
    return run.state is not None and run.state.is_final()
