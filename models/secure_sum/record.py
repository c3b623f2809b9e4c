"""What a member remembers of a session until its end: its seeds, and what it has answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from models.errors import CorruptArtifact
from models.kernel.json_values import read_json
from models.secure_sum.primitives.breaches import COORDINATOR, breach
from models.secure_sum.primitives.canonical import canonical
from models.secure_sum.primitives.sharing import SEED_BYTES
from models.secure_sum.seeds import Seeds
from models.secure_sum.session import Session


@dataclass(frozen=True)
class MemberRecord:
    """A member's record of one session. Its bytes are secret; `repr` does not show the seeds.

    Attributes:
        session: the session's digest.
        seeds: of the member.
        message: with which it prepared the session.
        prepared: who prepared, as the member was told when it masked; empty before.
        view: digest of that and of the layout; empty before.
        masked: SHA-256 of the masked vector; None before.
        fewest: the least number of survivors that the member votes for, besides what the session asks.
        survivors: the set for which the member voted; None before.
    """

    session: str
    seeds: Seeds
    message: bytes = field(repr=False)
    prepared: tuple[str, ...] = ()
    view: str = ""
    masked: str | None = None
    fewest: int = 0
    survivors: tuple[str, ...] | None = None

    def require(self, session: Session) -> None:
        """Raise `ProtocolBreach` unless the record is of this session."""
        if self.session != session.digest:
            raise breach(
                COORDINATOR, "request", "session", f"is for session {session.id!r} of another cohort or id"
            )

    def to_bytes(self) -> bytes:
        """Return the record as canonical JSON, for the member's own disk."""
        return canonical(
            {
                "session": self.session,
                "mask_seed": self.seeds.mask.hex(),
                "self_seed": self.seeds.own.hex(),
                "message": self.message.hex(),
                "prepared": self.prepared,
                "view": self.view,
                "masked": self.masked,
                "fewest": self.fewest,
                "survivors": self.survivors,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> MemberRecord:
        """Return the record that `to_bytes` wrote.

        Raises:
            CorruptArtifact: the bytes are no such record.
        """
        try:
            found: Any = read_json(data)
            seeds = Seeds(bytes.fromhex(found["mask_seed"]), bytes.fromhex(found["self_seed"]))
            survivors = found["survivors"]
            record = cls(
                session=found["session"],
                seeds=seeds,
                message=bytes.fromhex(found["message"]),
                prepared=tuple(found["prepared"]),
                view=found["view"],
                masked=found["masked"],
                fewest=int(found["fewest"]),
                survivors=None if survivors is None else tuple(survivors),
            )
            intact = record.to_bytes() == data and len(seeds.mask) == len(seeds.own) == SEED_BYTES
        except (ValueError, KeyError, TypeError) as error:
            raise _damaged(f"{type(error).__name__}: {error}") from error
        if not intact:
            raise _damaged("it is not in the canonical form")
        return record


def _damaged(fault: str) -> CorruptArtifact:
    return CorruptArtifact(
        f"The record of a secure sum is damaged: {fault}.",
        next_step="Leave this sum: a member that does not know what it answered must not answer again.",
    )
