"""Reads the silos' answers from the exchange and accepts only those whose signature is verified.

Each answer contains the head of its silo's egress ledger, which must not go backwards
(`tasks/coordinator/ask_with_witness.py`).
"""

from __future__ import annotations

import time

from models.errors import CorruptArtifact, FedrecError, ForgedAnswer, NotFound
from models.federation.envelope import AnswerContext
from tasks.coordinator.ask_with_witness import EgressWitnesses
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
        exchange: the exchange in which the silos put them.
        trust: the silos' public keys.
        witnesses: of the silos' egress ledgers.
    """

    def __init__(self, exchange: Exchange, trust: TrustStore, witnesses: EgressWitnesses) -> None:
        self._exchange = exchange
        self._trust = trust
        self._witnesses = witnesses

    def list_objects(self, step: Step, order: ClientOrder) -> set[ArtifactRef]:
        """Return all objects in the folder of the silo's answers to this order, genuine or not.

        The set is empty if the folder cannot be read.
        """
        try:
            return set(self._listed(step, order))
        except OSError:
            return set()

    def find_new(self, step: Step, order: ClientOrder, known: set[ArtifactRef]) -> Answer | None:
        """Return the silo's answer to this order among the objects that are not known, or None.

        Args:
            step: the step of the order.
            order: the order, which names the silo and the model.
            known: objects to ignore; objects that turn out not to be an answer are added to it.
        """
        for ref in self.list_objects(step, order) - known:
            try:
                return self._opened(step, order, ref)
            except (CorruptArtifact, OSError):
                continue  # it may not be whole yet
            except FedrecError:
                known.add(ref)
        return None

    def read_verified(self, step: Step, order: ClientOrder, sha256: str | None = None) -> Answer:
        """Return the silo's answer to this order.

        Args:
            step: the step of the order.
            order: the order.
            sha256: of the answer that counts; any genuine one if empty.

        Raises:
            ForgedAnswer, StaleUpdate, CorruptArtifact: there are objects, but none is an answer to this
                order.
            NotFound: there is no object.
            OSError: the silo's part of the exchange cannot be read.
        """
        refused: FedrecError = NotFound(
            f"Silo {order.client_id!r} finished {step!r} of round {order.round}, but the exchange "
            "contains no answer.",
            next_step="Compare the exchange URLs of silo and coordinator.",
        )
        # There may be several if the step was ordered again after a crash; any genuine one will do.
        for ref in self._listed(step, order):
            if sha256 not in (None, ref.sha256):
                continue
            try:
                return self._opened(step, order, ref)
            except FedrecError as error:
                refused = error
        raise refused

    def _listed(self, step: Step, order: ClientOrder) -> list[ArtifactRef]:
        kind = order.answer_kind(step)
        folder = silo_answers_folder(order.client_id, order.job.job_id, order.round, kind)
        return self._exchange.listed(folder)

    def _opened(self, step: Step, order: ClientOrder, ref: ArtifactRef) -> Answer:
        if ref.size > MAX_ANSWER_BYTES:
            raise ForgedAnswer(f"{ref.path} has {ref.size} bytes, at most {MAX_ANSWER_BYTES} are read.")
        silo = order.client_id
        kind = order.answer_kind(step)
        context = AnswerContext(silo, kind, order.job.job_id, order.round, order.base.sha256)
        data = self._exchange.get(ref)
        body = open_sealed(data, context, self._trust.key_of(silo))
        is_noisy = order.job.noise is not None
        answer = answer_of_json(step, silo, body, time.perf_counter(), is_noisy=is_noisy)
        _require_own_folder(answer, order)
        return self._witnesses.accept(silo, data, body, answer)


def _require_own_folder(answer: Answer, order: ClientOrder) -> None:
    """Raise `ForgedAnswer` if the answer names an update outside the silo's own folder."""
    if isinstance(answer, Delivery):
        folder = silo_updates_folder(order.client_id, order.job.job_id, order.round)
        if answer.update.path != f"{folder}/{answer.update.sha256}.safetensors":
            raise ForgedAnswer(
                f"Silo {order.client_id!r} names {answer.update.path!r} as its update, "
                f"expected one in {folder}."
            )
