"""A job's secure sums: the coordinator's part of the protocol, from the members' keys to the sum.

A sum has two messages of each member: its masked summand, and its vote for the members that are in the sum.
A third is needed only if a member falls silent between them. What precedes them, keys and sealed shares, is
asked for a few rounds ahead.

If the job's merge is robust, the cohort of a round trains in groups, each with a sum of its own. All these
sums have one id, and the members of all groups are asked at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from flows.jobs.group_sum import Group, GroupSum, Requests, unanswered
from models.errors import EgressRefused, QuorumNotReached
from models.federation.contribution import RunningSum
from models.federation.rounds import Rejection, is_evaluated, named, plan_round
from models.federation.vector_form import VectorForm
from models.secure_sum.cohort import read_cohort
from models.secure_sum.coordinator import SecureSum
from models.secure_sum.graph import FEWEST
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
    """The result of the secure sums of a step.

    Attributes:
        sums: the sum of each group that has one, and the members that are in it.
        missing: the members that are in none, and why.
        answers: what members answered in this process.
        bytes: size of all that the members sent.
        request_bytes: size of what they were sent for it, besides their orders.
    """

    sums: tuple[RunningSum[Any], ...]
    missing: tuple[Rejection, ...]
    answers: tuple[Any, ...]
    bytes: int
    request_bytes: int

    @property
    def state(self) -> RunningSum[Any]:
        """Return the sum of a step that all members take together."""
        (only,) = self.sums
        return only

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

    Raises:
        QuorumNotReached: too few clients say their keys for any sum. The job can continue when they do.
    """

    def __init__(self, job: Job) -> None:
        self._job, self._journal = job, SumJournal(job.journal.folder)
        # Why members did not say their keys, or did not prepare, when they were last asked.
        self._unprepared: dict[str, Rejection] = {}
        self._announcements, self._identities = self._journal.members() or self._announced()

    def prepare(self, round_: int) -> None:
        """Let the members prepare the sums of this round, and of a few rounds ahead.

        Members that miss that are asked again in the next round.
        """
        due = self._due(round_, 1)
        if not all(self._journal.has_prepared(each.key) for each in due):
            due = self._due(round_, _AHEAD)
        groups = [self._noted(each) for each in due if not self._journal.has_begun(each.key)]
        orders = {}
        for each in self._job.reachable:
            own = {
                group.sum_id: group.members
                for group, messages in groups
                if each in group.members and each not in messages
            }
            if own:
                orders[each] = self._order(own)
        answers = self._job.ask("prepare", orders, sums=orders) if orders else {}
        self._unprepared = {
            each: why for each, answer in answers.items() if (why := unanswered(each, answer))
        }
        for group, messages in groups:
            if further := _messages(answers, group):
                self._journal.note_prepared(group.key, group.members, messages | further)

    def collect(
        self, step: Step, round_: int, form_of: Callable[[int], VectorForm], **arguments: Any
    ) -> Summed:
        """Return the sums of what the members answer to a step.

        A group of which too few members answer at one of the stages is lost, and its members are missing.

        Args:
            step: what they do.
            round_: the round that the sums belong to.
            form_of: returns the form of the vectors of a sum of so many members.
            **arguments: further arguments of the step.

        Raises:
            QuorumNotReached: all groups are lost. The job can continue with the same sums when the members
                are back.
        """
        groups = self._groups(step, round_)
        for group in groups:
            self._require_members(step, group.members)
        sums = [self._opened(group, form_of) for group in groups]
        self._mask(step, sums, **arguments)
        if noise := self._job.context.noise:
            for each in sums:
                each.require_summands(noise.summands)
        votes = [(each, each.agree_requests()) for each in sums]
        for each in sums:
            if not each.lost:
                # Before anybody votes, because members vote once: after a crash the sum must have the same
                # members.
                self._journal.note_masked(each.group.key, each.summands)
        answers = self._ask("agree", votes)
        for each in sums:
            each.note_silent(answers)
            each.add_agreed(_messages(answers, each.group))
        answers = self._ask("reveal", [(each, each.reveal_requests()) for each in sums])
        for each in sums:
            each.note_silent(answers)
            each.add_revealed(_messages(answers, each.group))
        found = [state for each in sums if (state := each.result())]
        gone = tuple(rejection for each in sums for rejection in each.rejections())
        if not found and (few := sums[0].lost):
            reasons = [reason for each in sums for reason in each.own_reasons()]
            raise QuorumNotReached(
                f"{few.what} Missing: {named(reasons)}.",
                next_step=next_step_after(reasons, few.next_step),
                rejected=gone,
            )
        return Summed(
            tuple(found),
            gone,
            tuple(answer for each in sums for answer in each.answers.values()),
            sum(each.bytes for each in sums),
            sum(each.request_bytes for each in sums),
        )

    def _mask(self, step: Step, sums: Sequence[GroupSum], **arguments: Any) -> None:
        """Ask for the masked summands that were not noted before a crash, and add all."""
        noted = {each.group.key: self._journal.masked(each.group.key) for each in sums}
        requests = [(each, each.mask_requests()) for each in sums]
        new = [(each, own) for each, own in requests if own and noted[each.group.key] is None]
        for each, own in new:
            # From now on the same members must have prepared it, because members mask once.
            self._journal.note_begun(each.group.key)
            each.missing |= {name: busy for name, busy in self._job.busy.items() if name in own}
        answers = self._ask(step, new, **arguments)
        for each in sums:
            summands = noted[each.group.key]
            each.add_masked(each.note_answers(answers) if summands is None else summands, self._message_of)

    def _ask(
        self, step: Step, requests: Iterable[tuple[GroupSum, Requests]], **arguments: Any
    ) -> dict[str, Any]:
        """Send the members of all groups their requests at once, and return the answers."""
        reachable = {*self._job.reachable}
        orders: dict[str, SumOrder] = {}
        for each, own in requests:
            each.request_bytes += sum(map(len, own.values()))
            sums = {each.group.sum_id: each.group.members}
            orders |= {name: self._order(sums, request) for name, request in own.items() if name in reachable}
        return self._job.ask(step, orders, sums=orders, **arguments) if orders else {}

    def _announced(self) -> tuple[dict[str, bytes], dict[str, bytes]]:
        answers = self._job.ask("announce", self._job.reachable, sums={})
        announcements, identities = _said(answers, ANNOUNCEMENT), _said(answers, IDENTITY)
        self._unprepared = {
            each: why for each, answer in answers.items() if (why := unanswered(each, answer))
        }
        # Before they are noted, because the job goes on with those that are.
        self._require_members("announce", announcements)
        self._journal.note_members(announcements, identities)
        return announcements, identities

    def _require_members(self, step: Step, members: Collection[str]) -> None:
        """Raise `QuorumNotReached` if a sum would have fewer members than hide a single one."""
        if len(members) >= FEWEST:
            return
        job = self._job
        known = self._unprepared | job.busy | job.unfit
        away = [
            known.get(each, Rejection(each, "deadline", "it is not in the sums of this job"))
            for each in job.client_ids
            if each not in members
        ]
        raise QuorumNotReached(
            f"A secure sum needs {FEWEST} members, and for {step!r} there are {len(members)} "
            f"({', '.join(sorted(members)) or 'none'}). Missing: {named(away)}.",
            next_step=next_step_after(away, "The same command continues when they are there."),
            rejected=tuple(away),
        )

    def _opened(self, group: Group, form_of: Callable[[int], VectorForm]) -> GroupSum:
        """Return the sum of a group after its members have prepared it."""
        group, prepared = self._noted(group)
        form = form_of(len(group.members))
        session = Session(self._cohort(group.members), group.sum_id)
        found = GroupSum(group, prepared, form, SecureSum(session, form.layout))
        unprepared = self._unprepared.keys() & set(group.members) - prepared.keys()
        found.missing |= {each: self._unprepared[each] for each in unprepared}
        return found

    def _noted(self, group: Group) -> tuple[Group, dict[str, bytes]]:
        """Return the group with the members for which it was first prepared, and their messages so far."""
        members, messages = self._journal.prepared(group.key) or (group.members, {})
        return replace(group, members=members), messages

    def _message_of(self, summand: ArtifactRef | bytes) -> bytes:
        if isinstance(summand, ArtifactRef):
            return decode_masked(self._job.context.exchange.get(summand))
        return summand

    def _order(self, sums: Mapping[str, tuple[str, ...]], request: bytes = b"") -> SumOrder:
        members = sorted({each for names in sums.values() for each in names})
        return SumOrder(
            sums=sums,
            announcements={each: self._announcements[each] for each in members},
            identities={each: self._identities[each] for each in members},
            request=request,
        )

    def _due(self, round_: int, rounds: int) -> list[Group]:
        """Return the groups of all sums of these rounds."""
        config, last = self._job.config, self._job.config.federation.rounds
        found: list[Group] = []
        for each in range(round_, min(round_ + rounds, last + 1)):
            found += self._groups("train", each)
            if is_evaluated(each, every=config.evaluation.every, rounds=last):
                found += self._groups("evaluate", each)
            if each == last:
                found += self._groups("compare", each)
        return found

    def _groups(self, step: Step, round_: int) -> list[Group]:
        """Return the groups of a step. Only the cohort that trains is dealt into several."""
        name, job = sum_id(step, round_), self._job
        if step != "train":
            return [Group(name, name, tuple(sorted(self._announcements)))]
        dealt = job.config.federation.robust.groups(self._cohort_of(round_), job.config.seed)
        if len(dealt) == 1:
            return [Group(name, name, dealt[0])]
        return [Group(name, f"{name}-group-{place}", each) for place, each in enumerate(dealt, start=1)]

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


def next_step_after(missing: Iterable[Rejection], otherwise: str) -> str:
    """Return what to do about members that are missing, if a policy of theirs refuses, or `otherwise`."""
    refusing = sorted({each.client_id for each in missing if EgressRefused.__name__ in each.reason})
    if not refusing:
        return otherwise
    return (
        f"A policy that refuses does so again. Ask whoever owns {', '.join(refusing)} what the silo's own "
        "log says, and run the same command when that has changed."
    )


def _messages(answers: Mapping[str, Any], group: Group) -> dict[str, bytes]:
    """Return member -> its message about the group's sum, for the members of the group that sent one."""
    return {
        member: message for member, message in _said(answers, group.sum_id).items() if member in group.members
    }


def _said(answers: Mapping[str, Any], name: str) -> dict[str, bytes]:
    """Return member -> its message of this name, for the members that sent one."""
    return {
        member: answer.messages[name]
        for member, answer in answers.items()
        if isinstance(answer, SumAnswer) and name in answer.messages
    }
