"""One secure sum: its members, their neighbours and its thresholds."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from models.errors import InvalidInput
from models.secure_sum.cohort import LONGEST_NAME, Cohort
from models.secure_sum.graph import COMPLETE, neighbours, threshold
from models.secure_sum.primitives.canonical import digest


@dataclass(frozen=True)
class Session:
    """One secure sum. No two have the same id in a job, also not a repetition after a failure.

    Attributes:
        cohort: the members and their keys.
        id: the caller's name for the sum.
        digest: SHA-256 of all of that, part of everything that is derived or signed.
        neighbours: name -> the other members that hold shares of its seeds and mask against it.
        complete: whether all members are neighbours.

    Raises:
        InvalidInput: the id is empty or too long.
    """

    cohort: Cohort
    id: str
    digest: str = field(init=False)
    neighbours: Mapping[str, tuple[str, ...]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.id) <= LONGEST_NAME:
            raise InvalidInput(
                f"The session {self.id[:80]!r} has {len(self.id)} characters, expected 1 to 200."
            )
        facts = ["session", self.cohort.digest, self.id]
        object.__setattr__(self, "digest", digest(facts))
        object.__setattr__(self, "neighbours", neighbours(self.cohort.names, self.digest))

    @property
    def complete(self) -> bool:
        """Whether all members are neighbours."""
        return len(self.cohort.names) <= COMPLETE

    @property
    def quorum(self) -> int:
        """The least number of members that must take part at any time."""
        return threshold(len(self.cohort.names))

    def shares_needed(self, name: str) -> int:
        """Return the number of shares that give a member's seed: `threshold` of it and its neighbours."""
        return threshold(1 + len(self.neighbours[name]))

    def suffices(self, present: Collection[str], name: str) -> bool:
        """Return whether enough are present, of all and of a member with its neighbours, for it to go on."""
        near = 1 + len(set(self.neighbours[name]) & set(present))
        return name in present and len(present) >= self.quorum and near >= self.shares_needed(name)


@dataclass(frozen=True)
class Agreement:
    """Who prepared a session, and whose masked vectors arrived. Members open one agreement of a session.

    Attributes:
        session: the sum.
        prepared: names, sorted.
        survivors: names of those of them whose masked vectors are summed, sorted.
    """

    session: Session = field(repr=False, compare=False)
    prepared: tuple[str, ...] = ()
    survivors: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> str:
        """What members sign to agree."""
        return digest(["agreement", self.session.digest, self.prepared, self.survivors])

    def around(self, name: str) -> tuple[str, ...]:
        """Return a member's neighbours that prepared: those of whose seeds it has shares."""
        return tuple(other for other in self.session.neighbours[name] if other in self._prepared)

    def dropped_around(self, name: str) -> tuple[str, ...]:
        """Return a member's neighbours that prepared, but whose masked vectors did not arrive."""
        return tuple(other for other in self.around(name) if other not in self._survivors)

    def survivors_around(self, name: str) -> tuple[str, ...]:
        """Return a member's neighbours whose masked vectors arrived."""
        return tuple(other for other in self.session.neighbours[name] if other in self._survivors)

    @cached_property
    def _prepared(self) -> frozenset[str]:
        return frozenset(self.prepared)

    @cached_property
    def _survivors(self) -> frozenset[str]:
        return frozenset(self.survivors)
