"""What silos left in the exchange for the coordinator; only what proves who wrote it counts.

Each answer brings the head of its silo's egress ledger, which must not go backwards
(`tasks/coordinator/ask_with_witness.py`).
"""

from __future__ import annotations

import time

from models.errors import CorruptArtifact, FedrecError, ForgedAnswer, NotFound
from models.federation.envelope import Question
from tasks.coordinator.ask_with_witness import Witnessing
from tasks.coordinator.trust_store import TrustStore
from tasks.exchange.layout import silo_answers_folder, silo_updates_folder
from tasks.exchange.store import ArtifactRef, Exchange
from tasks.messages.answers import Answer, Delivery, answer_of_json
from tasks.messages.orders import ClientOrder
from tasks.messages.steps import Step
from tasks.silos.signed_answers import MAX_ANSWER_BYTES, open_sealed


class SiloAnswers:
    """The silos' answers to a coordinator.

    Args:
        exchange: where they come up.
        trust: the silos' public keys.
        witnessing: of their egress ledgers.
    """

    def __init__(self, exchange: Exchange, trust: TrustStore, witnessing: Witnessing) -> None:
        self._exchange = exchange
        self._trust = trust
        self._witnessing = witnessing

    def there(self, step: Step, order: ClientOrder) -> set[ArtifactRef]:
        """What lies where the silo answers to this order, genuine or not."""
        try:
            return set(self._listed(step, order))
        except OSError:
            return set()

    def new(self, step: Step, order: ClientOrder, known: set[ArtifactRef]) -> Answer | None:
        """The silo's answer to this very order, other than the known ones; None where there is none yet.

        Args:
            step: what was asked.
            order: of whom, and on which model.
            known: what is not looked at; what turns out to be no answer joins it.
        """
        for ref in self.there(step, order) - known:
            try:
                return self._opened(step, order, ref)
            except (CorruptArtifact, OSError):
                continue  # perhaps not whole yet
            except FedrecError:
                known.add(ref)
        return None

    def verified(self, step: Step, order: ClientOrder) -> Answer:
        """The silo's answer to this very order.

        Raises:
            ForgedAnswer, StaleUpdate, CorruptArtifact: what lies there is none.
            NotFound: nothing lies there.
            OSError: the silo's part of the exchange cannot be read.
        """
        refused: FedrecError = NotFound(
            f"Silo {order.client_id!r} finished {step!r} of round {order.round} but left no answer in the "
            "exchange.",
            next_step="Compare the exchange URLs of silo and coordinator.",
        )
        # More than one where the step was asked again after a crash; any that is genuine serves.
        for ref in self._listed(step, order):
            try:
                return self._opened(step, order, ref)
            except FedrecError as error:
                refused = error
        raise refused

    def _listed(self, step: Step, order: ClientOrder) -> list[ArtifactRef]:
        folder = silo_answers_folder(order.client_id, order.job.job_id, order.round, step)
        return self._exchange.listed(folder)

    def _opened(self, step: Step, order: ClientOrder, ref: ArtifactRef) -> Answer:
        if ref.size > MAX_ANSWER_BYTES:
            raise ForgedAnswer(f"{ref.path} has {ref.size} bytes, at most {MAX_ANSWER_BYTES} are read.")
        silo = order.client_id
        question = Question(silo, step, order.job.job_id, order.round, order.base.sha256)
        data = self._exchange.get(ref)
        body = open_sealed(data, question, self._trust.key_of(silo))
        answer = _within_own_folder(answer_of_json(step, silo, body, time.perf_counter()), order)
        return self._witnessing.heard(silo, data, body, answer)


def _within_own_folder(answer: Answer, order: ClientOrder) -> Answer:
    """The answer, which names nothing that another silo wrote.

    Raises:
        ForgedAnswer: it does.
    """
    if isinstance(answer, Delivery):
        folder = silo_updates_folder(order.client_id, order.job.job_id, order.round)
        if answer.update.path != f"{folder}/{answer.update.sha256}.safetensors":
            raise ForgedAnswer(
                f"Silo {order.client_id!r} names {answer.update.path!r} as its update, "
                f"expected one in {folder}."
            )
    return answer
