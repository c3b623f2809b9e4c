"""What a member opens of an agreement: its self seed, and one share of each neighbour's seeds, never both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from models.secure_sum.primitives.sharing import SEED_BYTES

# A share follows a byte: 1, or 0 and zeros if the member could not unseal it.
_ENTRY_BYTES = 1 + SEED_BYTES
_MISSING = bytes(_ENTRY_BYTES)


@dataclass(frozen=True)
class Opening:
    """A member's part in the opening of an agreement. `repr` does not show it.

    Attributes:
        self_seed: the member's own (16 bytes).
        shares: neighbour -> share (16 bytes) of its self seed if its vector arrived, else of its mask seed.
            Neighbours are missing whose shares could not be unsealed.
    """

    self_seed: bytes = field(repr=False)
    shares: Mapping[str, bytes] = field(repr=False)

    def to_bytes(self, owners: Sequence[str]) -> bytes:
        """Return the opening with shares of these neighbours, as `opening_bytes(len(owners))` bytes."""
        entries = [b"\1" + self.shares[owner] if owner in self.shares else _MISSING for owner in owners]
        return self.self_seed + b"".join(entries)

    @classmethod
    def read(cls, data: bytes, owners: Sequence[str]) -> Opening | None:
        """Return the opening in bytes of the right length, or None if an entry is in another form."""
        starts = range(SEED_BYTES, len(data), _ENTRY_BYTES)
        entries = {owner: data[at : at + _ENTRY_BYTES] for owner, at in zip(owners, starts, strict=True)}
        present = {owner: entry[1:] for owner, entry in entries.items() if entry != _MISSING}
        if any(entries[owner][0] != 1 for owner in present):
            return None
        return cls(data[:SEED_BYTES], present)


def opening_bytes(owners: int) -> int:
    """Return the number of bytes of an opening with shares of so many neighbours."""
    return SEED_BYTES + owners * _ENTRY_BYTES
