"""One secure sum at work: the coordinator's part of the protocol for the members of one group."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from models.errors import FedrecError, QuorumNotReached
from models.federation.contribution import RunningSum
from models.federation.rounds import Rejection
from models.federation.vector_form import VectorForm
from models.secure_sum.coordinator import SecureSum
from tasks.exchange.store import ArtifactRef
from tasks.messages.answers import Delivery, SumAnswer

Requests = dict[str, bytes]


@dataclass(frozen=True)
class Group:
    """The members of one secure sum.

    Attributes:
        sum_id: id of the sum. Several groups have the same, and a client is a member of one of them.
        key: names the group in the coordinator's notes.
        members: their names, sorted.
    """

    sum_id: str
    key: str
    members: tuple[str, ...]


class GroupSum:
    """The secure sum of one group.

    Its stages follow each other: `mask_requests`, `add_masked`, `agree_requests`, `add_agreed`,
    `reveal_requests`, `add_revealed`, `result`. A stage that too few members reached makes it `lost`, and
    what follows does nothing.

    Args:
        group: its members.
        prepared: member -> its message of the sum's preparation.
        form: of the members' vectors.
        protocol: the coordinator's side of it.

    Attributes:
        group: its members.
        answers: what the members answered to the step.
        summands: member -> its masked summand, or where that is.
        missing: member -> why it is not in the sum.
        lost: why there is no sum, if too few members reached a stage.
        bytes, request_bytes: size of all that the members sent, and were sent beside their orders.
    """

    def __init__(
        self, group: Group, prepared: Mapping[str, bytes], form: VectorForm, protocol: SecureSum
    ) -> None:
        self.group, self._form, self._protocol = group, form, protocol
        self.answers: dict[str, Any] = {}
        self.summands: dict[str, ArtifactRef | bytes] = {}
        self.missing: dict[str, Rejection] = {}
        self.lost: QuorumNotReached | None = None
        self.bytes, self.request_bytes = sum(map(len, prepared.values())), 0
        self._prepared = self._taken(prepared, protocol.add_prepared)
        self._voters: list[str] = []

    def mask_requests(self) -> Requests:
        """Return the request for its masked summand to each member that prepared the sum."""
        # The first request of a stage finds out whether enough members reached it, also if none did.
        asked = self._prepared or [*self.group.members[:1]]
        return self._requests(lambda: {each: self._protocol.mask_request(each) for each in asked})

    def note_answers(self, answers: Mapping[str, Any]) -> dict[str, ArtifactRef | bytes]:
        """Keep what members answered to the step, and return the masked summands among it."""
        self.answers = {each: answers[each] for each in self.group.members if each in answers}
        found: dict[str, ArtifactRef | bytes] = {}
        for member, answer in self.answers.items():
            if isinstance(answer, Delivery):
                found[member] = answer.update
            elif isinstance(answer, SumAnswer):
                found[member] = answer.messages.get(self.group.sum_id, b"")
            elif why := unanswered(member, answer):
                self.missing[member] = why
        return found

    def add_masked(
        self,
        summands: Mapping[str, ArtifactRef | bytes],
        message_of: Callable[[ArtifactRef | bytes], bytes],
    ) -> None:
        """Add the masked summands. `message_of` reads one at a time."""
        if self.lost:
            return
        taken = self._taken(
            summands, lambda each, summand: self._protocol.add_masked(each, message_of(summand))
        )
        self.summands = {each: summands[each] for each in taken}
        self.bytes += sum(map(_size, self.summands.values()))

    def require_summands(self, fewest: int) -> None:
        """Lose the sum, before it is opened, if too few masked summands arrived for enough noise."""
        if not self.lost and len(self.summands) < fewest:
            self.lost = QuorumNotReached(
                f"The sum {self.group.sum_id!r} has {len(self.summands)} summands, and needs {fewest}: each "
                "has that share of the noise.",
                next_step="Continue the sum when more members are there: the same command does that.",
                found=len(self.summands),
                needed=fewest,
            )

    def agree_requests(self) -> Requests:
        """Return the request for its vote to each member whose masked summand arrived."""
        asked = [*self.summands] or self._prepared[:1]
        return self._requests(lambda: {each: self._protocol.agree_request(each) for each in asked})

    def add_agreed(self, messages: Mapping[str, bytes]) -> None:
        """Add the members' votes."""
        self._voters = self._said(messages, self._protocol.add_agreed)

    def reveal_requests(self) -> Requests:
        """Return the request to open the sum to each member that voted, unless the votes open it."""
        if self.lost or not self._protocol.needs_reveal:
            return {}
        asked = self._voters or [*self.summands][:1]
        return self._requests(lambda: {each: self._protocol.reveal_request(each) for each in asked})

    def add_revealed(self, messages: Mapping[str, bytes]) -> None:
        """Add what the members revealed."""
        self._said(messages, self._protocol.add_revealed)

    def result(self) -> RunningSum[Any] | None:
        """Return the sum over its survivors; None if it is lost."""
        if not self.lost:
            try:
                blocks = self._protocol.total()
            except QuorumNotReached as few:
                self.lost = few
            else:
                return self._form.running_sum(blocks, self._protocol.agreement.survivors)
        return None

    def rejections(self) -> list[Rejection]:
        """Return the members that are not in the sum, and why. All are missing from a lost one."""
        survivors = () if self.lost else self._protocol.agreement.survivors
        return [self._missing(each) for each in self.group.members if each not in survivors]

    def note_silent(self, answers: Mapping[str, Any]) -> None:
        """Keep why members did not vote or reveal. They are missing only if the sum is lost."""
        for member in self.group.members:
            if member in answers and (why := unanswered(member, answers[member])):
                self.missing.setdefault(member, why)

    def own_reasons(self) -> list[Rejection]:
        """Return the members that are missing for a reason of their own, not because the sum is lost."""
        return [
            each
            for each in self.rejections()
            if each.client_id in self.missing or each.client_id not in self._prepared
        ]

    def _missing(self, member: str) -> Rejection:
        if member in self.missing:
            return self.missing[member]
        if member in self._prepared and self.lost:
            return Rejection(member, "deadline", f"the secure sum of its group is lost: {self.lost.what}")
        return Rejection(member, "deadline", "it did not prepare the secure sum")

    def _requests(self, made: Callable[[], Requests]) -> Requests:
        if self.lost:
            return {}
        try:
            return made()
        except QuorumNotReached as few:
            self.lost = few
            return {}

    def _said(self, messages: Mapping[str, bytes], add: Callable[[str, bytes], None]) -> list[str]:
        self.bytes += sum(map(len, messages.values()))
        return self._taken(messages, add)

    def _taken(self, messages: Mapping[str, Any], add: Callable[[str, Any], None]) -> list[str]:
        """Add messages, and return the members of those that were accepted. The others are missing."""
        found = []
        for member, message in messages.items():
            try:
                add(member, message)
            except FedrecError as error:
                self.missing[member] = Rejection(member, "update", str(error))
            else:
                found.append(member)
        return found


def unanswered(member: str, answer: Any) -> Rejection | None:
    """Return why a member did not answer a step of a sum; None if it did."""
    if isinstance(answer, (Delivery, SumAnswer)):
        return None
    if isinstance(answer, Exception):
        return Rejection(member, "training", f"{type(answer).__name__}: {answer}")
    return Rejection(member, "deadline", str(answer))


def _size(summand: ArtifactRef | bytes) -> int:
    return summand.size if isinstance(summand, ArtifactRef) else len(summand)
