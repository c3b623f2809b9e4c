"""A silo's agent: gets orders from a gateway, lets a process do them, and sends what the policy lets out.

What is fetched and what leaves lies in a folder of the silo. An answer that is ready is sent before anything
else is done, so a step that was interrupted while it sent is not done again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, TimeoutError
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path

from data_contracts.strict_json import read_exactly
from models.errors import CorruptArtifact, DiskFull, FedrecError, InvalidInput, SiloFailed
from models.kernel.json_values import read_json
from tasks.exchange.codec import decode_model, encode_model
from tasks.exchange.layout import catalog_folder, models_folder
from tasks.exchange.model_steps import model_after
from tasks.exchange.store import ArtifactRef, Exchange
from tasks.local.atomic import write_atomically
from tasks.messages.orders import ClientOrder
from tasks.messages.steps import StepOrder
from tasks.silos.gateway_answers import Ordered
from tasks.silos.gateway_client import GatewayAway, GatewayClient, GatewayRefused
from tasks.silos.perform_step import Silo, note_failure, perform_step

_WAIT_S = 25.0
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
# Seconds between two looks whether the coordinator still wants an order.
_WANTED_S = 5.0
# Problems after which an order is over for this silo: withdrawn, answered by another agent, or unknown.
_OVER = ("withdrawn", "ended", "not-found")
# Statuses of an upload that the gateway will never take: too large, or no answer.
_NEVER_TAKEN = (413, 422)


def perform_safely(silo: Silo, step_order: StepOrder) -> tuple[ArtifactRef, ...]:
    """Do a step, and return what may leave. Run it in a process of its own.

    Raises:
        SiloFailed: the step failed. Only the kind of error is named; the silo's own log has the rest.
    """
    try:
        return perform_step(silo, step_order)
    except Exception as error:  # noqa: BLE001 - no error may leave the silo
        note_failure(silo.home, error)
        raise SiloFailed(type(error).__name__) from None


@dataclass(frozen=True)
class _Ready:
    """What an order's answer consists of, until all of it has left."""

    order_id: str
    refs: tuple[ArtifactRef, ...]


class Agent:
    """A silo's agent.

    Args:
        silo: the silo. Its exchange is a folder of its own, `exchange_folder`.
        client: the connection to the gateway.
        processes: returns an executor with one process, which does the steps. Called again after it broke.
        say: told in one line what happens.
    """

    def __init__(
        self,
        silo: Silo,
        client: GatewayClient,
        processes: Callable[[], Executor],
        say: Callable[[str], None],
    ) -> None:
        self._silo, self._client, self._say = silo, client, say
        self._processes, self._process = processes, processes()
        self._exchange = Exchange(silo.exchange_url)
        self._ready_file = silo.home.root / "gateway" / "ready.json"
        self._pause_s = _SHORTEST_PAUSE_S
        self._is_away, self._has_agreed = False, False

    def run(self, until: Callable[[], bool] = lambda: False) -> None:
        """Do the silo's orders until `until` returns true, which is asked between two requests.

        Raises:
            FedrecError: the gateway refuses this silo, or it is not the coordinator's.
        """
        while not until():
            try:
                if not self._has_agreed:
                    self._client.agree(self._silo.name)
                    self._has_agreed = True
                    self._say("Connected to the gateway. Waiting for orders.")
                # Not all silos at once.
                self.do_next(_WAIT_S * random.uniform(0.6, 1.0))  # noqa: S311
                self._note_answered()
            except GatewayAway as away:
                if not self._is_away:
                    self._say(f"{away.what} Trying again.")
                # Another version of the gateway may come back.
                self._is_away, self._has_agreed = True, False
                time.sleep(self._pause_s * random.uniform(0.5, 1.0))  # noqa: S311
                self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)

    def close(self) -> None:
        """End the process that does the steps."""
        self._process.shutdown(wait=False, cancel_futures=True)

    def do_next(self, wait_s: float) -> bool:
        """Do the next order, and return whether there was one.

        Raises:
            GatewayAway: the gateway does not answer. What is ready is sent later.
            GatewayRefused, ForgedAnswer: the gateway refuses this silo, or it is not the coordinator's.
        """
        ready = self._ready()
        if ready is not None:
            self._send(ready)
            self._note_answered()
        ordered = self._client.next_order(wait_s)
        if ordered is None:
            return False
        began = time.monotonic()
        try:
            order = ordered.step_order
            name = f"{order.step} of round {order.order.round}, job {order.order.job.job_id}"
        except InvalidInput as error:
            self._say(f"This version cannot read an order: {error.what}")
            self._tell(ordered.id, "UnreadableOrder")
            return True
        try:
            refs = self._kept(ordered)
        except SiloFailed as failed:
            self._say(
                f"Failed: {name}: {failed.what}. The details are in {self._silo.home.root / 'silo.log'}."
            )
            self._tell(ordered.id, failed.what)
            return True
        if refs is None:
            self._say(f"Withdrawn: {name}.")
            return True
        if self._send(_Ready(ordered.id, refs)):
            sent = sum(ref.size for ref in refs)
            self._say(f"Done: {name}, {time.monotonic() - began:.1f} s, {sent:,} bytes sent.")
        return True

    def _note_answered(self) -> None:
        """Note that the gateway answers: the next pause is the shortest."""
        if self._is_away:
            self._say("The gateway answers again.")
        self._is_away, self._pause_s = False, _SHORTEST_PAUSE_S

    def _kept(self, ordered: Ordered) -> tuple[ArtifactRef, ...] | None:
        """Do an order, and keep what may leave until it is sent; None if the order was withdrawn."""
        try:
            refs = self._performed(ordered)
            if refs is not None:
                ready = asdict(_Ready(ordered.id, refs))
                write_atomically(self._ready_file, json.dumps(ready).encode())
        except (OSError, DiskFull) as error:
            with contextlib.suppress(OSError):  # the disk may be full for the log, too
                note_failure(self._silo.home, error)
            raise SiloFailed(type(error).__name__) from None
        return refs

    def _performed(self, ordered: Ordered) -> tuple[ArtifactRef, ...] | None:
        """Do an order, and return what may leave; None if the coordinator withdrew it meanwhile."""
        try:
            self._fetch(ordered)
        except GatewayRefused as refused:
            if refused.facts.get("status") == 404:  # noqa: PLR2004
                return None
            raise
        self._note_answered()
        try:
            future = self._process.submit(perform_safely, self._silo, ordered.step_order)
        except BrokenProcessPool:  # it died between two orders
            self._process = self._processes()
            future = self._process.submit(perform_safely, self._silo, ordered.step_order)
        while True:
            try:
                return future.result(_WANTED_S)
            except TimeoutError:
                if not self._is_wanted(ordered):
                    self._end(future)
                    return None
            except BrokenProcessPool:
                self._process = self._processes()
                raise SiloFailed("ProcessDied") from None

    def _is_wanted(self, ordered: Ordered) -> bool:
        try:
            found = self._client.next_order()
        except FedrecError:
            return True  # only the gateway's own word ends a step
        return found is not None and found.id == ordered.id

    def _end(self, future: Future[tuple[ArtifactRef, ...]]) -> None:
        future.cancel()
        for process in list(getattr(self._process, "_processes", {}).values()):
            process.kill()
        self._process.shutdown(wait=True, cancel_futures=True)
        self._process = self._processes()

    def _fetch(self, ordered: Ordered) -> None:
        """Fetch what an order names, unless it is here."""
        job_id = ordered.step_order.order.job.job_id
        for ref in ordered.objects:
            folder = ref.path.rpartition("/")[0]
            # A path is the coordinator's word, and must not lead out of the folder.
            if folder not in (models_folder(job_id), catalog_folder(job_id)):
                raise SiloFailed("StrangePath")
            if ref in self._exchange.listed(folder):
                continue
            if folder != models_folder(job_id):
                self._exchange.put(folder, self._client.fetch(ref))
                continue
            data = self._made_from_step(ordered.step_order.order) or self._client.fetch(ref)
            self._exchange.remove(folder)  # earlier rounds' models
            self._exchange.put(folder, data)

    def _made_from_step(self, order: ClientOrder) -> bytes | None:
        """Return the order's model, made from the one before and the round's sum; None to fetch it whole."""
        step = order.base_step
        if step is None or step.before not in self._exchange.listed(models_folder(order.job.job_id)):
            return None
        try:
            before = decode_model(self._exchange.get(step.before))
            found = model_after(
                self._client.fetch(step.sum), before, order.job.family, order.job.seed, "The round's sum"
            )
            data = encode_model(found)
        except Exception as error:  # noqa: BLE001 - a sum saves bytes, and whatever it is must not end the agent
            reason = error.what if isinstance(error, FedrecError) else type(error).__name__
            self._say(f"The whole model is fetched: {reason}")
            return None
        if hashlib.sha256(data).hexdigest() != order.base.sha256:
            self._say("The whole model is fetched: the round's sum makes another one here.")
            return None
        return data

    def _send(self, ready: _Ready) -> bool:
        """Send what is ready, and return whether the gateway took it.

        Raises:
            GatewayAway, GatewayRefused, ForgedAnswer: it was not sent, and is kept.
        """
        *updates, answer = ready.refs
        try:
            for ref in updates:
                self._client.send_update(ready.order_id, self._exchange.get(ref))
            self._client.send_answer(ready.order_id, self._exchange.get(answer))
        except GatewayRefused as refused:
            if refused.facts.get("kind") in _OVER:
                self._say(refused.what)
            elif refused.facts.get("status") in _NEVER_TAKEN:
                self._say(f"The gateway does not take what is ready: {refused.what}")
                self._tell(ready.order_id, "NotTaken")
            else:
                raise
            self._ready_file.unlink(missing_ok=True)
            return False
        except CorruptArtifact as error:
            self._say(f"What was ready for order {ready.order_id} is damaged: {error.what}")
            self._tell(ready.order_id, "CorruptArtifact")
            self._ready_file.unlink(missing_ok=True)
            return False
        self._ready_file.unlink(missing_ok=True)
        for ref in updates:
            self._exchange.remove(ref.path.rpartition("/")[0])
        return True

    def _tell(self, order_id: str, error: str) -> None:
        """Tell the gateway that an order cannot be done, unless it does not want to know any more."""
        try:
            self._client.send_failure(order_id, error)
        except GatewayRefused as refused:
            self._say(refused.what)

    def _ready(self) -> _Ready | None:
        """Return what is ready; None if nothing is. A damaged file is put aside: its order is done again."""
        try:
            ready = read_exactly(_Ready, read_json(self._ready_file.read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            ready = None
        if ready is not None and ready.refs:
            return ready
        aside = self._ready_file.with_name("ready.damaged.json")
        self._ready_file.replace(aside)
        self._say(f"{self._ready_file} is damaged, and is now {aside.name}. Its order is done again.")
        return None


def exchange_folder(home_root: Path) -> Path:
    """Return the folder of what a silo has fetched and what leaves next."""
    return home_root / "exchange"
