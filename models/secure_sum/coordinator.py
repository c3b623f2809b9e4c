"""The coordinator's side of a secure sum: it collects what members send, relays it, and opens the sum."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from models.errors import InvalidInput, QuorumNotReached
from models.kernel.bit_packing import Unsigned
from models.secure_sum.messages import (
    AGREED,
    MASKED,
    PREPARED,
    REVEALED,
    Prepared,
    read_agreed,
    read_masked,
    read_prepared,
    read_revealed,
    view,
)
from models.secure_sum.openings import Opening
from models.secure_sum.primitives.breaches import breach
from models.secure_sum.primitives.statements import statement_of
from models.secure_sum.quick_opening import read_quick
from models.secure_sum.requests import (
    AGREE,
    MASK,
    REVEAL,
    agree_request,
    mask_request,
    reveal_request,
    shared_line,
)
from models.secure_sum.session import Agreement, Session
from models.secure_sum.unmasking import Unmasking, WrongShare
from models.secure_sum.vectors import Layout, VectorSum


class SecureSum:
    """One sum, from the first message to the result.

    Its stages follow each other: `add_prepared`, then `mask_request` and `add_masked`, then `agree_request`
    and `add_agreed`, then, if `needs_reveal`, `reveal_request` and `add_revealed`, and `total`. The first
    request of a stage closes the stage before. A member answers for one set of members only. So after a crash
    a caller makes a new object, gives it the same messages in the same stages, and continues.

    All `add_...` raise `ProtocolBreach` for a message that is refused, and then change nothing.

    Attributes:
        wrong_shares: the wrong shares that `total` noticed.
    """

    def __init__(self, session: Session, layout: Layout) -> None:
        self._session, self._layout = session, layout
        self._public: dict[str, Prepared] = {}
        self._sealed: dict[str, dict[str, bytes]] = {}
        self._statements: dict[str, bytes] = {}
        self._masked: dict[str, bytes] = {}
        self._sum = VectorSum(layout)
        self._votes: dict[str, bytes] = {}
        self._quick: dict[str, bytes] = {}
        self._openings: dict[str, Opening] = {}
        self._quickly_opened: dict[str, Opening] = {}
        self._lines: dict[str, bytes] = {}
        self._agreement = Agreement(session)
        self.wrong_shares: tuple[WrongShare, ...] = ()

    @property
    def agreement(self) -> Agreement:
        """Who prepared and whose vectors are summed, as far as that is decided."""
        return self._agreement

    def add_prepared(self, name: str, message: bytes) -> None:
        """Take what `member.prepare` returned at a member."""
        self._require(name, PREPARED, among=self._session.cohort.names, known=self._public, closed=MASK)
        self._public[name], self._sealed[name] = read_prepared(self._session, name, message)
        self._statements[name] = statement_of(message)

    def mask_request(self, name: str) -> bytes:
        """Return the request to `member.mask` at a member that prepared.

        Raises:
            QuorumNotReached: too few prepared.
        """
        if MASK not in self._lines:
            self._require_enough(self._public, PREPARED)
            self._agreement = Agreement(self._session, tuple(sorted(self._public)))
            self._lines[MASK] = shared_line(self._session, MASK, self._agreement.prepared)
        around = self._agreement.around(name)
        return mask_request(self._lines[MASK], {other: self._statements[other] for other in around})

    def add_masked(self, name: str, message: bytes) -> None:
        """Take what `member.mask` returned at a member, and add it to the sum."""
        self._require(name, MASKED, among=self._agreement.prepared, known=self._masked, closed=AGREE)
        seen = view(self._agreement.prepared, self._layout)
        packed = read_masked(self._session, name, seen, message, self._layout.packed_bytes)
        try:
            self._sum.add_packed(packed)
        except InvalidInput as error:
            raise breach(f"member {name!r}", MASKED, "vector", f"has another form: {error.what}") from error
        self._masked[name] = statement_of(message)

    def agree_request(self, name: str) -> bytes:
        """Return the request to `member.agree` at a member whose masked vector arrived.

        Raises:
            QuorumNotReached: too few vectors arrived.
        """
        if AGREE not in self._lines:
            self._require_enough(self._masked, MASKED)
            self._agreement = replace(self._agreement, survivors=tuple(sorted(self._masked)))
            self._lines[AGREE] = shared_line(self._session, AGREE, self._agreement.survivors)
        around = self._agreement.survivors_around(name)
        masked = {other: self._masked[other] for other in around}
        return agree_request(self._lines[AGREE], self._sealed_for(name), masked)

    def add_agreed(self, name: str, message: bytes) -> None:
        """Take what `member.agree` returned at a member."""
        self._require(name, AGREED, among=self._agreement.survivors, known=self._votes, closed=REVEAL)
        self._quick[name] = read_agreed(self._agreement, name, message)
        self._votes[name] = statement_of(message)
        if self._session.complete and len(self._votes) == len(self._agreement.survivors):
            self._open_quickly()

    @property
    def needs_reveal(self) -> bool:
        """Whether the sum cannot be opened with the votes alone, so that members must reveal.

        The votes suffice in a complete graph if all survivors voted and none lied.
        """
        return not self._quickly_opened

    def reveal_request(self, name: str) -> bytes:
        """Return the request to `member.reveal` at a member that voted.

        Raises:
            QuorumNotReached: too few voted.
        """
        if REVEAL not in self._lines:
            self._require_enough(self._votes, AGREED)
            # Each member verifies all of these, so it gets no more than it needs.
            voters = sorted(self._votes)[: self._session.quorum]
            content = {voter: self._votes[voter].decode() for voter in voters}
            self._lines[REVEAL] = shared_line(self._session, REVEAL, content)
        return reveal_request(self._lines[REVEAL], self._sealed_for(name))

    def add_revealed(self, name: str, message: bytes) -> None:
        """Take what `member.reveal` returned at a member."""
        voters = self._votes if REVEAL in self._lines else ()
        self._require(name, REVEALED, among=voters, known=self._openings)
        self._openings[name] = read_revealed(self._agreement, name, message)

    def total(self) -> tuple[Unsigned, ...]:
        """Return the exact sum of the survivors' vectors modulo 2^width, block by block.

        Returns:
            a block of (count,) uint32 for widths up to 32 bits, else uint64, for each of the layout.

        Raises:
            QuorumNotReached: too few members opened; more openings can be added.
            ProtocolBreach: too many shares are wrong.
        """
        openings = self._quickly_opened or self._openings
        self._require_enough(openings, REVEALED)
        unmasking = Unmasking(self._agreement, self._public, openings)
        masks, self.wrong_shares = unmasking.masks(self._layout.digest)
        total = self._sum.copy()
        for key, times in masks:
            total.add_mask(key, times=-times)
        return total.blocks()

    def _open_quickly(self) -> None:
        openings = read_quick(self._agreement, self._quick)
        unmasking = Unmasking(self._agreement, self._public, openings)
        honest = {name for name, each in openings.items() if unmasking.is_self_seed(name, each.self_seed)}
        if len(honest) == len(self._agreement.survivors):
            self._quickly_opened = openings

    def _sealed_for(self, name: str) -> dict[str, bytes]:
        around = self._agreement.around(name)
        return {other: self._sealed[other][name] for other in around}

    def _require(
        self, name: str, kind: str, *, among: Collection[str], known: Collection[str], closed: str = ""
    ) -> None:
        """Raise `ProtocolBreach` unless a message of this member is due now."""
        if name not in among:
            raise breach(f"member {name!r}", kind, "member", "was not requested from it")
        if closed in self._lines:
            raise breach(f"member {name!r}", kind, "stage", f"is late: requests to {closed} were sent before")
        if name in known:
            raise breach(f"member {name!r}", kind, "stage", "is the second of this member")

    def _require_enough(self, present: Collection[str], kind: str) -> None:
        if len(present) < self._session.quorum:
            raise QuorumNotReached(
                f"The sum {self._session.id!r} has {len(present)} messages {kind!r} of "
                f"{len(self._session.cohort.names)} members, and needs {self._session.quorum}.",
                next_step="Continue the sum when more members are there: the same command does that.",
                found=len(present),
                needed=self._session.quorum,
            )
