"""What silos left in the exchange for the coordinator; only what proves who wrote it counts.

Each answer brings the head of its silo's egress ledger, which must not go backwards (`tasks/witness.py`).
"""

from __future__ import annotations

import time
from dataclasses import replace

from models.errors import CorruptArtifact, FedrecError, ForgedAnswer, NotFound
from models.federation.answer import Question
from models.ledger.head import Head
from tasks.answers import MAX_ANSWER_BYTES, open_sealed
from tasks.exchange import ArtifactRef, Exchange
from tasks.orders import ClientOrder
from tasks.steps import Answer, Step, answer_of_json, answers_folder, updates_folder
from tasks.train_client import Delivery
from tasks.trust_store import TrustStore
from tasks.witness import Witness


class SiloAnswers:
    """The silos' answers to a coordinator.

    Args:
        exchange: where they come up.
        trust: the silos' public keys.
    """

    def __init__(self, exchange: Exchange, trust: TrustStore) -> None:
        self._exchange = exchange
        self._trust = trust
        # Heads of the silos' egress ledgers when each was asked last, and the answers that bring newer ones.
        self._known: dict[str, Head | None] = {}
        self._newer: dict[str, bytes] = {}

    def newest_head(self, silo: str) -> Head | None:
        """The head that the next order names, and behind which no answer to it may fall; None for a new silo.

        Raises:
            LedgerTampered: what was kept of the silo is damaged.
        """
        self._known[silo] = known = self._witness(silo).newest()
        return known

    def keep_heads(self) -> None:
        """The newest answer of each silo that brought a newer head is kept, as evidence of it."""
        for silo, answer in self._newer.items():
            self._witness(silo).keep(answer, self._trust.key_of(silo))
        self._newer.clear()

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
        return self._exchange.listed(answers_folder(order.client_id, order.job.job_id, order.round, step))

    def _opened(self, step: Step, order: ClientOrder, ref: ArtifactRef) -> Answer:
        if ref.size > MAX_ANSWER_BYTES:
            raise ForgedAnswer(f"{ref.path} has {ref.size} bytes, at most {MAX_ANSWER_BYTES} are read.")
        silo = order.client_id
        question = Question(silo, step, order.job.job_id, order.round, order.base.sha256)
        data = self._exchange.get(ref)
        body = open_sealed(data, question, self._trust.key_of(silo))
        answer = _within_own_folder(answer_of_json(step, silo, body, time.perf_counter()), order)
        return self._with_head(answer, silo, data, Head.of_json(body.get("egress")))

    def _with_head(self, answer: Answer, silo: str, data: bytes, head: Head) -> Answer:
        """The answer, with the head of its silo's egress ledger where it stands with the round.

        Raises:
            LedgerTampered: the head went backwards.
        """
        known = self._known.get(silo)
        self._witness(silo).require_after(known, data, head)
        if known is None or head.count > known.count:
            self._newer[silo] = data
        return replace(answer, egress=head) if isinstance(answer, Delivery) else answer

    def _witness(self, silo: str) -> Witness:
        return Witness(self._trust.home, silo)


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
