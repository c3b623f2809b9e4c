"""A coordinator that lies, and the members that collude with it: what they hold and can compute of it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from models.errors import ProtocolBreach
from models.secure_sum.messages import (
    Prepared,
    read_agreed,
    read_masked,
    read_prepared,
    read_revealed,
    view,
    write_agreed,
)
from models.secure_sum.openings import Opening
from models.secure_sum.primitives.sharing import recover
from models.secure_sum.primitives.statements import statement_of
from models.secure_sum.quick_opening import TOKEN_BYTES, quick_bytes, read_quick, write_quick
from models.secure_sum.requests import (
    AGREE,
    MASK,
    REVEAL,
    agree_request,
    mask_request,
    reveal_request,
    shared_line,
)
from models.secure_sum.seeds import commitment, mask_key, pair_mask, self_mask, sign_of, unseal_shares
from models.secure_sum.session import Agreement
from models.secure_sum.vectors import VectorSum
from tests.models.secure_sum.sums import World


@dataclass
class Adversary:
    """What the coordinator and its colluding members learn in one session.

    It may show any member any set. `refusals` counts the requests that honest members refused.
    """

    world: World
    colluding: Collection[str]
    public: dict[str, Prepared] = field(default_factory=dict)
    statements: dict[str, bytes] = field(default_factory=dict)
    sealed: dict[str, dict[str, bytes]] = field(default_factory=dict)
    shown: dict[str, tuple[str, ...]] = field(default_factory=dict)
    vectors: dict[str, bytes] = field(default_factory=dict)
    masked: dict[str, bytes] = field(default_factory=dict)
    votes: dict[tuple[str, Agreement], bytes] = field(default_factory=dict)
    openings: list[tuple[Agreement, Opening]] = field(default_factory=list)
    refusals: int = 0

    @property
    def honest(self) -> list[str]:
        return [name for name in self.world.names if name not in self.colluding]

    def prepare(self) -> None:
        for name in self.world.names:
            message = self.world.prepared(name)
            self.public[name], self.sealed[name] = read_prepared(self.world.session, name, message)
            self.statements[name] = statement_of(message)

    def mask(self, name: str, prepared: Collection[str]) -> None:
        """Ask a member for its masked vector, and claim that these prepared."""
        shown = tuple(sorted(prepared))
        around = Agreement(self.world.session, shown).around(name)
        shared = shared_line(self.world.session, MASK, shown)
        request = mask_request(shared, {other: self.statements[other] for other in around})
        message = self.world.masked(name, request)
        seen, size = view(shown, self.world.layout), self.world.layout.packed_bytes
        self.shown[name], self.masked[name] = shown, statement_of(message)
        self.vectors[name] = read_masked(self.world.session, name, seen, message, size)

    def agree(self, name: str, survivors: Collection[str]) -> Agreement:
        """Ask a member to vote, and claim that these survived."""
        session = self.world.session
        agreement = Agreement(session, self.shown[name], tuple(sorted(survivors)))
        masked = {other: self.masked[other] for other in agreement.survivors_around(name)}
        shared = shared_line(session, AGREE, agreement.survivors)
        try:
            message = self.world.agreed(
                name, agree_request(shared, self._sealed_for(name, agreement), masked)
            )
        except ProtocolBreach:
            self.refusals += 1
        else:
            read_agreed(agreement, name, message)
            self.votes[name, agreement] = message
        return agreement

    def collude(self, agreement: Agreement) -> None:
        """Vote for an agreement with all colluding members."""
        for name in set(self.colluding) & set(agreement.survivors):
            member, session = self.world.members[name], self.world.session
            opening = Opening(self.world.records[name].seeds.own, {})
            quick = write_quick(member, agreement, opening) if session.complete else b""
            self.votes[name, agreement] = write_agreed(member, agreement, quick)

    def reveal(self, name: str, agreement: Agreement) -> None:
        """Ask a member to reveal, with all votes that there are for an agreement."""
        session = self.world.session
        votes = {
            voter: statement_of(message).decode()
            for (voter, each), message in self.votes.items()
            if each == agreement
        }
        shared = shared_line(session, REVEAL, votes)
        try:
            message = self.world.revealed(name, reveal_request(shared, self._sealed_for(name, agreement)))
        except ProtocolBreach:
            self.refusals += 1
        else:
            self.openings.append((agreement, read_revealed(agreement, name, message)))

    def unseal_quick_openings(self) -> None:
        """Take what the votes open, with their tokens, those of other votes, and the receiver's own."""
        if not self.world.session.complete:
            return
        exact, any_, own = {}, {}, {}
        for (voter, agreement), message in self.votes.items():
            quick = message.partition(b"\n")[2]
            for place, other in enumerate(agreement.survivors_around(voter)):
                token = quick[place * TOKEN_BYTES : (place + 1) * TOKEN_BYTES]
                exact[voter, other, agreement] = any_[voter, other] = own[other, voter, agreement] = token
        for agreement in {agreement for _, agreement in self.votes}:
            for find in (
                lambda sender, to, each=agreement: exact.get((sender, to, each)),
                lambda sender, to: any_.get((sender, to)),
                lambda sender, to, each=agreement: own.get((sender, to, each)),
            ):
                sent = {name: self._quick(name, agreement, find) for name in agreement.survivors}
                self.openings += [(agreement, each) for each in read_quick(agreement, sent).values()]

    def self_seed(self, owner: str) -> bytes | None:
        """Return a member's self seed, if it can be computed."""
        session, wanted = self.world.session, self.public[owner].commitment
        for _, opening in self.openings:
            if commitment(session, owner, opening.self_seed) == wanted:
                return opening.self_seed
        return self._recovered(owner, own=True)

    def mask_seed(self, owner: str) -> bytes | None:
        """Return a member's mask seed, if it can be computed."""
        if owner in self.colluding:
            return self.world.records[owner].seeds.mask
        return self._recovered(owner, own=False)

    def learns(self, names: Collection[str]) -> bool:
        """Return whether the sum of these honest members' vectors can be computed."""
        session, layout = self.world.session, self.world.layout
        private: dict[str, X25519PrivateKey] = {}
        for name in self.world.names:
            seed = self.mask_seed(name)
            if seed is not None:
                private[name] = mask_key(session, name, seed)
        total = VectorSum(layout)
        for name in names:
            seed = self.self_seed(name)
            if seed is None:
                return False
            total.add_packed(self.vectors[name])
            total.add_mask(self_mask(session, name, seed, layout.digest), times=-1)
            for other in Agreement(session, self.shown[name]).around(name):
                if other in names and name in self.shown[other]:
                    continue  # the two masks cancel
                key, public = private.get(name), self.public[other].mask_key
                if key is None:
                    key, public = private.get(other), self.public[name].mask_key
                if key is None:
                    return False
                mask = pair_mask(session, key, public, (name, other), layout.digest)
                total.add_mask(mask, times=-sign_of(name, other))
        return [block.tolist() for block in total.blocks()] == self.world.wanted(names)

    def _quick(self, name: str, agreement: Agreement, find: Callable[[str, str], bytes | None]) -> bytes:
        """Return a sealed opening, if its member voted for the agreement, behind tokens that are found."""
        vote = self.votes.get((name, agreement), b"\n" + bytes(quick_bytes(agreement, name)))
        others = agreement.survivors_around(name)
        tokens = [find(name, other) or bytes(TOKEN_BYTES) for other in others]
        return b"".join(tokens) + vote.partition(b"\n")[2][TOKEN_BYTES * len(others) :]

    def _sealed_for(self, name: str, agreement: Agreement) -> dict[str, bytes]:
        around = agreement.around(name)
        return {owner: self.sealed[owner][name] for owner in around}

    def _recovered(self, owner: str, *, own: bool) -> bytes | None:
        session, public = self.world.session, self.public[owner]
        holders, needed = session.neighbours[owner], session.shares_needed(owner)
        shares: dict[int, bytes] = {}
        for place, holder in enumerate(holders):
            if holder in self.colluding:
                member = self.world.members[holder]
                both = unseal_shares(member, session, owner, self.sealed[owner][holder])
                assert both is not None
                shares[place] = both.own if own else both.mask
        for agreement, opening in self.openings:
            holder = self._opener(opening)
            if holder in holders and owner in opening.shares and (owner in agreement.survivors) == own:
                shares[holders.index(holder)] = opening.shares[owner]
        if len(shares) < needed:
            return None

        def is_seed(seed: bytes) -> bool:
            if own:
                return commitment(session, owner, seed) == public.commitment
            return mask_key(session, owner, seed).public_key().public_bytes_raw() == public.mask_key

        found = recover(shares, needed, is_seed)
        return None if found is None else found.seed

    def _opener(self, opening: Opening) -> str:
        session = self.world.session
        return next(
            name
            for name in self.world.names
            if commitment(session, name, opening.self_seed) == self.public[name].commitment
        )
