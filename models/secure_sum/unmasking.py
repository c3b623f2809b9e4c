"""The masks in a sum, found with what survivors opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from models.errors import QuorumNotReached
from models.secure_sum.messages import REVEALED, Prepared
from models.secure_sum.openings import Opening
from models.secure_sum.primitives.breaches import breach
from models.secure_sum.primitives.sharing import recover
from models.secure_sum.seeds import commitment, mask_key, pair_mask, self_mask, sign_of
from models.secure_sum.session import Agreement


@dataclass(frozen=True)
class WrongShare:
    """A share that does not fit the seed: `holder` changed it, or `owner` made it wrong."""

    owner: str
    holder: str


@dataclass(frozen=True)
class Unmasking:
    """What finds the masks that are left in the survivors' sum.

    Attributes:
        agreement: that was opened.
        public: name -> what each member prepared.
        openings: survivor -> its opening; some may be missing.
    """

    agreement: Agreement
    public: Mapping[str, Prepared]
    openings: Mapping[str, Opening]

    def masks(self, layout: str) -> tuple[list[tuple[bytes, int]], tuple[WrongShare, ...]]:
        """Return the masks in the sum of the survivors' vectors, and the wrong shares that were noticed.

        Args:
            layout: digest of the vectors' layout.

        Returns:
            (key, 1 or -1) of each mask that was added or subtracted and did not cancel; and the wrong shares,
            in spite of which the masks are right.

        Raises:
            QuorumNotReached: a seed has fewer shares than it needs.
            ProtocolBreach: so many shares of a seed are wrong that it was not found.
        """
        wrong: list[WrongShare] = []
        masks = [
            (self_mask(self.agreement.session, name, self._self_seed(name, wrong), layout), 1)
            for name in self.agreement.survivors
        ]
        for name in sorted(set(self.agreement.prepared) - set(self.agreement.survivors)):
            private = mask_key(self.agreement.session, name, self._mask_seed(name, wrong))
            for other in self.agreement.survivors_around(name):
                public = self.public[other].mask_key
                key = pair_mask(self.agreement.session, private, public, (name, other), layout)
                masks.append((key, sign_of(other, name)))
        return masks, tuple(wrong)

    def is_self_seed(self, name: str, seed: bytes) -> bool:
        """Return whether a seed is the self seed to which a member committed."""
        return commitment(self.agreement.session, name, seed) == self.public[name].commitment

    def _self_seed(self, name: str, wrong: list[WrongShare]) -> bytes:
        if name in self.openings and self.is_self_seed(name, self.openings[name].self_seed):
            return self.openings[name].self_seed
        return self._recovered(name, lambda seed: self.is_self_seed(name, seed), wrong)

    def _mask_seed(self, name: str, wrong: list[WrongShare]) -> bytes:
        session, wanted = self.agreement.session, self.public[name].mask_key

        def is_mask_seed(seed: bytes) -> bool:
            return mask_key(session, name, seed).public_key().public_bytes_raw() == wanted

        return self._recovered(name, is_mask_seed, wrong)

    def _recovered(self, name: str, is_seed: Callable[[bytes], bool], wrong: list[WrongShare]) -> bytes:
        session = self.agreement.session
        holders, needed = session.neighbours[name], session.shares_needed(name)
        shares = {
            place: self.openings[holder].shares[name]
            for place, holder in enumerate(holders)
            if holder in self.openings and name in self.openings[holder].shares
        }
        if len(shares) < needed:
            raise QuorumNotReached(
                f"The sum {session.id!r} cannot be opened: of a seed of {name!r} {len(shares)} shares "
                f"arrived, and {needed} are needed.",
                next_step="Repeat it under a new session id, with members that stay until the end.",
                member=name,
                needed=needed,
                found=len(shares),
            )
        found = recover(shares, needed, is_seed)
        if found is None:
            raise breach(
                f"members {', '.join(repr(holders[place]) for place in shares)}",
                REVEALED,
                "shares",
                f"gives no seed of member {name!r}: too many shares are wrong, or the member made them so",
            )
        wrong += [WrongShare(name, holders[place]) for place in found.wrong]
        return found.seed
