"""A job's secure sums: the coordinator's part of the protocol, from the members' keys to the sum.

A sum has two messages of each member: its masked summand, and its vote for the members that are in the sum.
A third is needed only if a member falls silent between them. What precedes them, keys and sealed shares, is
asked for a few rounds ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from models.errors import FedrecError
from models.federation.contribution import RunningSum
from models.federation.rounds import Rejection, is_evaluated, plan_round
from models.federation.vector_form import VectorForm
from models.secure_sum.cohort import read_cohort
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

# Rounds whose sums are prepared at once. Seeds and shares of each are some kilobytes on a member's disk.
_AHEAD = 8


@dataclass(frozen=True)
class Summed:
    """The result of a secure sum.

    Attributes:
        state: the sum, and the members that are in it.
        missing: the members that are not in it, and why.
        answers: what members answered in this process.
        bytes: size of all that the members sent.
        request_bytes: size of what they were sent for it, besides their orders.
    """

    state: RunningSum[Any]
    missing: tuple[Rejection, ...]
    answers: tuple[Any, ...]
    bytes: int
    request_bytes: int

    @property
    def deliveries(self) -> list[Delivery]:
        """Return the answers whose summand is an object of the exchange."""
        return [each for each in self.answers if isinstance(each, Delivery)]

    @property
    def figures(self) -> list[SumAnswer]:
        """Return the answers that contain the summand."""
        return [each for each in self.answers if isinstance(each, SumAnswer)]


class SecureSums:
    """The secure sums of one job.

    Args:
        job: the job, whose clients' data have been checked.
    """

    def __init__(self, job: Job) -> None:
        self._job, self._journal = job, SumJournal(job.journal.folder)
        self._announcements, self._identities = self._journal.members() or self._announced()

    def prepare(self, round_: int) -> None:
        """Let the members prepare the sums of this round, and of a few rounds ahead.

        Members that miss that are asked again in the next round.
        """
        due = self._due(round_, 1)
        if not all(self._journal.has_prepared(name) for name in due):
            due = self._due(round_, _AHEAD)
        sums = {
            name: self._journal.prepared(name) or (members, {})
            for name, members in due.items()
            if not self._journal.has_begun(name)
        }
        orders = {}
        for each in self._job.reachable:
            own = {
                name: members
                for name, (members, messages) in sums.items()
                if each in members and each not in messages
            }
            if own:
                orders[each] = self._order(own)
        answers = self._job.ask("prepare", orders, sums=orders) if orders else {}
        for name, (members, messages) in sums.items():
            if further := _messages(answers, name):
                self._journal.note_prepared(name, members, messages | further)

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
            QuorumNotReached: too few members answered at one of the stages. The job can continue with the
                same sum when they are back.
        """
        name = sum_id(step, round_)
        members, prepared = self._journal.prepared(name) or ((), {})
        form = form_of(len(members))
        sum_ = _Sum(self, name, members, SecureSum(Session(self._cohort(members), name), form.layout))
        sum_.add_prepared(prepared)
        requests = sum_.mask_requests()
        summands = self._journal.masked(name)
        if summands is None:
            # From now on the same members must have prepared it, because members mask once.
            self._journal.note_begun(name)
            sum_.missing |= {name: each for name, each in self._job.busy.items() if name in requests}
            summands = sum_.masked(step, requests, **arguments)
        for each, summand in summands.items():
            sum_.take(each, partial(self._add_masked, sum_.protocol, each, summand))
        in_sum = {each: summand for each, summand in summands.items() if each not in sum_.missing}
        votes = sum_.agree_requests(in_sum)
        # Before anybody votes, because members vote once: after a crash the sum must have the same members.
        self._journal.note_masked(name, in_sum)
        blocks = sum_.opened(votes)
        survivors = sum_.protocol.agreement.survivors
        return Summed(
            form.running_sum(blocks, survivors),
            tuple(sum_.missing_of(each) for each in members if each not in survivors),
            tuple(sum_.answers.values()),
            sum(map(len, prepared.values())) + sum(map(_size, in_sum.values())) + sum_.answer_bytes,
            sum_.request_bytes,
        )

    def ask(
        self, step: Step, sums: Mapping[str, tuple[str, ...]], requests: Mapping[str, bytes], **arguments: Any
    ) -> dict[str, Any]:
        """Send each member its request about these sums, and return the answers."""
        orders = {
            each: self._order(sums, request)
            for each, request in requests.items()
            if each in self._job.reachable
        }
        return self._job.ask(step, orders, sums=orders, **arguments)

    def _announced(self) -> tuple[dict[str, bytes], dict[str, bytes]]:
        answers = self._job.ask("announce", self._job.reachable, sums={})
        announcements, identities = _messages(answers, ANNOUNCEMENT), _messages(answers, IDENTITY)
        self._journal.note_members(announcements, identities)
        return announcements, identities

    def _add_masked(self, protocol: SecureSum, name: str, summand: ArtifactRef | bytes) -> None:
        if isinstance(summand, ArtifactRef):
            summand = decode_masked(self._job.context.exchange.get(summand))
        protocol.add_masked(name, summand)

    def _order(self, sums: Mapping[str, tuple[str, ...]], request: bytes = b"") -> SumOrder:
        members = sorted({each for names in sums.values() for each in names})
        return SumOrder(
            sums=sums,
            announcements={each: self._announcements[each] for each in members},
            identities={each: self._identities[each] for each in members},
            request=request,
        )

    def _due(self, round_: int, rounds: int) -> dict[str, tuple[str, ...]]:
        """Return id -> members of the sums of these rounds."""
        config, last = self._job.config, self._job.config.federation.rounds
        everyone = tuple(sorted(self._announcements))
        sums = {}
        for each in range(round_, min(round_ + rounds, last + 1)):
            sums[sum_id("train", each)] = self._cohort_of(each)
            if is_evaluated(each, every=config.evaluation.every, rounds=last):
                sums[sum_id("evaluate", each)] = everyone
            if each == last:
                sums[sum_id("compare", each)] = everyone
        return sums

    def _cohort_of(self, round_: int) -> tuple[str, ...]:
        federation = self._job.config.federation
        plan = plan_round(
            round_,
            seed=self._job.config.seed,
            clients=self._job.client_ids,
            cohort_share=federation.cohort_share,
            quorum_share=federation.quorum_share,
        )
        return tuple(sorted(each for each in plan.cohort if each in self._announcements))

    def _cohort(self, members: Iterable[str]) -> Any:
        roster = {each: Ed25519PublicKey.from_public_bytes(self._identities[each]) for each in members}
        announcements = {each: self._announcements[each] for each in roster}
        return read_cohort(self._job.journal.job_id, roster, announcements)


class _Sum:
    """One secure sum at work.

    Args:
        sums: of the job.
        name: id of the sum.
        members: of the sum.
        protocol: the coordinator's side of it.

    Attributes:
        answers: what the members answered to the step.
        missing: member -> why it is not in the sum.
        answer_bytes, request_bytes: size of the votes and openings, and of what members were sent.
    """

    def __init__(self, sums: SecureSums, name: str, members: tuple[str, ...], protocol: SecureSum) -> None:
        self._sums, self._name, self._members, self.protocol = sums, name, members, protocol
        self.answers: dict[str, Any] = {}
        self.missing: dict[str, Rejection] = {}
        self._prepared: list[str] = []
        self.answer_bytes = self.request_bytes = 0

    def take(self, member: str, add: Callable[[], None]) -> bool:
        """Add a member's message, and return whether it was accepted. A member of a faulty one is missing."""
        try:
            add()
        except FedrecError as error:
            self.missing[member] = Rejection(member, "update", str(error))
            return False
        return True

    def add_prepared(self, messages: Mapping[str, bytes]) -> None:
        """Add the messages of the members that prepared the sum."""
        for each, message in messages.items():
            if self.take(each, partial(self.protocol.add_prepared, each, message)):
                self._prepared.append(each)

    def mask_requests(self) -> dict[str, bytes]:
        """Return the request for its masked summand to each member that prepared the sum.

        Raises:
            QuorumNotReached: too few prepared it.
        """
        return {each: self.protocol.mask_request(each) for each in self._prepared}

    def masked(
        self, step: Step, requests: Mapping[str, bytes], **arguments: Any
    ) -> dict[str, ArtifactRef | bytes]:
        """Ask for the masked summands, and return those that arrive."""
        self.answers = self._ask(step, requests, **arguments)
        found: dict[str, ArtifactRef | bytes] = {}
        for member, answer in self.answers.items():
            if isinstance(answer, Delivery):
                found[member] = answer.update
            elif isinstance(answer, SumAnswer):
                found[member] = answer.messages.get(self._name, b"")
            elif isinstance(answer, Exception):
                reason = f"{type(answer).__name__}: {answer}"
                self.missing[member] = Rejection(member, "training", reason)
            else:
                self.missing[member] = Rejection(member, "deadline", str(answer))
        return found

    def agree_requests(self, survivors: Iterable[str]) -> dict[str, bytes]:
        """Return the request for its vote to each member whose masked summand arrived.

        Raises:
            QuorumNotReached: too few arrived.
        """
        # The first request finds out whether enough arrived, also if none did.
        return {each: self.protocol.agree_request(each) for each in [*survivors] or self._prepared[:1]}

    def opened(self, requests: Mapping[str, bytes]) -> Any:
        """Return the blocks of the sum, after its members have voted for it.

        Raises:
            QuorumNotReached: too few voted, or too few revealed.
        """
        protocol = self.protocol
        voters = []
        for each, message in self._messages("agree", requests).items():
            if self.take(each, partial(protocol.add_agreed, each, message)):
                voters.append(each)
        if protocol.needs_reveal:
            requests = {each: protocol.reveal_request(each) for each in voters}
            for each, message in self._messages("reveal", requests).items():
                self.take(each, partial(protocol.add_revealed, each, message))
        return protocol.total()

    def missing_of(self, member: str) -> Rejection:
        """Return why a member is not in the sum."""
        return self.missing.get(member) or Rejection(member, "deadline", "it did not prepare the secure sum")

    def _ask(self, step: Step, requests: Mapping[str, bytes], **arguments: Any) -> dict[str, Any]:
        self.request_bytes += sum(map(len, requests.values()))
        return self._sums.ask(step, {self._name: self._members}, requests, **arguments)

    def _messages(self, step: Step, requests: Mapping[str, bytes]) -> dict[str, bytes]:
        found = _messages(self._ask(step, requests), self._name)
        self.answer_bytes += sum(map(len, found.values()))
        return found


def _size(summand: ArtifactRef | bytes) -> int:
    return summand.size if isinstance(summand, ArtifactRef) else len(summand)


def _messages(answers: Mapping[str, Any], name: str) -> dict[str, bytes]:
    """Return member -> its message of this name, for the members that sent one."""
    return {
        member: answer.messages[name]
        for member, answer in answers.items()
        if isinstance(answer, SumAnswer) and name in answer.messages
    }
