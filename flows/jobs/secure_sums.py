"""A job's secure sums: the coordinator's part of the protocol, from the members' keys to the sum.

A sum has two messages of each member: its masked summand, and its vote for the members that are in the sum. A
third is needed only if a member falls silent between them. What precedes them, keys and sealed shares, is asked
for a few rounds ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from models.errors import FedrecError, ProtocolBreach
from models.federation.contribution import RunningSum
from models.federation.rounds import Rejection, is_evaluated, plan_round
from models.federation.vector_form import VectorForm
from models.secure_sum.cohort import Cohort, read_cohort
from models.secure_sum.coordinator import SecureSum
from models.secure_sum.session import Session
from tasks.clients.sum_steps import ANNOUNCEMENT, IDENTITY
from tasks.exchange.codec import decode_masked
from tasks.exchange.store import ArtifactRef
from tasks.jobs.sum_journal import SumJournal
from tasks.messages.answers import Delivery, SumAnswer
from tasks.messages.steps import Step
from tasks.messages.sum_forms import sum_id
from tasks.messages.sum_orders import SumOrder

if TYPE_CHECKING:
    from flows.jobs.job import Job

# Rounds whose sums are prepared at once. A member that is away then misses its part of the round that comes.
_AHEAD = 8


@dataclass(frozen=True)
class Summed:
    """The result of a secure sum.

    Attributes:
        state: the sum, and the members that are in it.
        missing: the members that are not in it, and why.
        answers: what the members answered that are in it.
        bytes: size of their masked summands.
    """

    state: RunningSum[Any]
    missing: tuple[Rejection, ...]
    answers: tuple[Delivery | SumAnswer, ...]
    bytes: int

    @property
    def deliveries(self) -> list[Delivery]:
        """Return the answers that refer to an object of the exchange."""
        return [each for each in self.answers if isinstance(each, Delivery)]

    @property
    def figures(self) -> list[SumAnswer]:
        """Return the answers that contain the masked summand."""
        return [each for each in self.answers if isinstance(each, SumAnswer)]


class SecureSums:
    """The secure sums of one job.

    Args:
        job: the job, whose clients' data have been checked.
    """

    def __init__(self, job: Job) -> None:
        self._job, self._journal = job, SumJournal(job.journal.folder)
        self._announcements, self._identities = self._journal.members() or self._announced()

    @property
    def members(self) -> tuple[str, ...]:
        """Return the clients that can be members, sorted."""
        return tuple(sorted(self._announcements))

    def prepare(self, round_: int) -> None:
        """Let the members prepare the sums of this round, and a few rounds ahead."""
        federation, last = self._job.config.federation, self._job.config.federation.rounds
        sums = {}
        for each in range(round_, min(round_ + _AHEAD, last + 1)):
            sums[sum_id("train", each)] = self._cohort_of(each)
            if is_evaluated(each, every=self._job.config.evaluation.every, rounds=federation.rounds):
                sums[sum_id("evaluate", each)] = self.members
        if round_ + _AHEAD > last:
            sums[sum_id("compare", last)] = self.members
        self._prepare({name: each for name, each in sums.items() if self._journal.prepared(name) is None})

    def collect(
        self, step: Step, round_: int, form_of: Callable[[int], VectorForm], **arguments: Any
    ) -> Summed:
        """Return the sum of what the members answer to a step.

        Args:
            step: what they do.
            round_: the round that the sum belongs to.
            form_of: returns the form of the vectors of a sum of so many members.
            **arguments: further arguments of the step.

        Raises:
            QuorumNotReached: too few members answered at one of the stages. The sum can be continued later.
        """
        name = sum_id(step, round_)
        members, prepared = self._journal.prepared(name) or ((), {})
        form = form_of(len(members))
        secure = SecureSum(Session(self._cohort(members), name), form.layout)
        missing = {
            each: Rejection(each, "deadline", "it did not prepare the round's secure sum")
            for each in members
            if each not in prepared
        }
        for client_id, message in prepared.items():
            missing |= _refused(client_id, lambda: secure.add_prepared(client_id, message))
        kept = self._journal.masked(name)
        answers: dict[str, Any] = {}
        if kept is None:
            asked = [each for each in prepared if each not in missing and each in self._job.reachable]
            requests = {each: secure.mask_request(each) for each in asked}
            answers = self._ask(step, {name: members}, requests, **arguments)
            kept, further = _summands(answers)
            missing |= further
        updates = {}
        for client_id, update in kept.items():
            refused = _refused(client_id, lambda: secure.add_masked(client_id, self._message(update)))
            missing |= refused
            if not refused:
                updates[client_id] = update
        self._journal.note_masked(name, updates)
        self._stage("agree", {name: members}, secure.agree_request, secure.add_agreed, updates)
        if secure.needs_reveal:
            voters = secure.voters
            self._stage("reveal", {name: members}, secure.reveal_request, secure.add_revealed, voters)
        blocks = secure.total()
        survivors = secure.agreement.survivors
        missing |= {
            each: Rejection(each, "deadline", "it was away") for each in members if each not in {*survivors, *missing}
        }
        return Summed(
            form.running_sum(blocks, survivors),
            tuple(missing[each] for each in sorted(missing)),
            tuple(answers[each] for each in survivors if each in answers),
            sum(each.size if isinstance(each, ArtifactRef) else len(each) for each in updates.values()),
        )

    def _announced(self) -> tuple[dict[str, bytes], dict[str, bytes]]:
        answers = self._job.ask("announce", self._job.reachable, sums={})
        said = {name: each.messages for name, each in answers.items() if isinstance(each, SumAnswer)}
        announcements = {name: each[ANNOUNCEMENT] for name, each in said.items() if ANNOUNCEMENT in each}
        identities = {name: said[name].get(IDENTITY, b"") for name in announcements}
        self._journal.note_members(announcements, identities)
        return announcements, identities

    def _prepare(self, sums: Mapping[str, tuple[str, ...]]) -> None:
        if not sums:
            return
        of_member = {
            each: {name: members for name, members in sums.items() if each in members}
            for each in self.members
            if each in self._job.reachable
        }
        orders = {each: self._order(own) for each, own in of_member.items() if own}
        answers = self._job.ask("prepare", orders, sums=orders)
        for name, members in sums.items():
            messages = {
                each: answer.messages[name]
                for each, answer in answers.items()
                if isinstance(answer, SumAnswer) and name in answer.messages
            }
            self._journal.note_prepared(name, members, messages)

    def _stage(
        self,
        step: Step,
        sums: Mapping[str, tuple[str, ...]],
        request: Any,
        take: Any,
        names: Iterable[str],
    ) -> None:
        """Ask members for a message that all of them should give, and take those that are right."""
        (name,) = sums
        asked = {each: request(each) for each in names if each not in self._job.at_work}
        for client_id, answer in self._ask(step, sums, asked).items():
            if isinstance(answer, SumAnswer) and name in answer.messages:
                _refused(client_id, lambda: take(client_id, answer.messages[name]))

    def _ask(
        self,
        step: Step,
        sums: Mapping[str, tuple[str, ...]],
        requests: Mapping[str, bytes],
        **arguments: Any,
    ) -> dict[str, Any]:
        orders = {each: self._order(sums, request) for each, request in requests.items()}
        return self._job.ask(step, orders, sums=orders, **arguments)

    def _order(self, sums: Mapping[str, tuple[str, ...]], request: bytes = b"") -> SumOrder:
        members = {each for names in sums.values() for each in names}
        return SumOrder(
            sums=sums,
            announcements={each: self._announcements[each] for each in sorted(members)},
            identities={each: self._identities[each] for each in sorted(members)},
            request=request,
        )

    def _cohort_of(self, round_: int) -> tuple[str, ...]:
        federation = self._job.config.federation
        plan = plan_round(
            round_,
            seed=self._job.config.seed,
            clients=self._job.client_ids,
            cohort_share=federation.cohort_share,
            quorum_share=federation.quorum_share,
        )
        return tuple(each for each in plan.cohort if each in self._announcements)

    def _cohort(self, members: Sequence[str]) -> Cohort:
        roster = {
            each: Ed25519PublicKey.from_public_bytes(self._identities[each]) for each in members
        }
        return read_cohort(
            self._job.journal.job_id, roster, {each: self._announcements[each] for each in members}
        )

    def _message(self, update: ArtifactRef | bytes) -> bytes:
        if isinstance(update, bytes):
            return update
        return decode_masked(self._job.context.exchange.get(update))


def _summands(answers: Mapping[str, Any]) -> tuple[dict[str, ArtifactRef | bytes], dict[str, Rejection]]:
    """Return the masked summands that arrived, and the clients without one and why."""
    arrived: dict[str, ArtifactRef | bytes] = {}
    missing = {}
    for client_id, answer in answers.items():
        if isinstance(answer, Delivery):
            arrived[client_id] = answer.update
        elif isinstance(answer, SumAnswer):
            arrived[client_id] = next(iter(answer.messages.values()), b"")
        elif isinstance(answer, Exception):
            missing[client_id] = Rejection(client_id, "training", f"{type(answer).__name__}: {answer}")
        else:
            missing[client_id] = Rejection(client_id, "deadline", str(answer))
    return arrived, missing


def _refused(client_id: str, take: Any) -> dict[str, Rejection]:
    """Take a message; return the client's rejection if the message is refused."""
    try:
        take()
    except FedrecError as error:
        return {client_id: Rejection(client_id, "update", str(error))}
    return {}
