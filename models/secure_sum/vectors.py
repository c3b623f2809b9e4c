"""Vectors modulo 2^w, and masks for them: the keystream of ChaCha20 (RFC 8439)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from models.errors import InvalidInput
from models.kernel.bit_packing import Unsigned, pack, packed_size, unpack, word_type
from models.secure_sum.primitives.canonical import digest

_ALIGNED = 8
# Each key masks one vector, so the nonce need not differ.
_NONCE = bytes(16)


@dataclass(frozen=True)
class Layout:
    """The shape of a vector: a list of blocks, each with one width.

    Attributes:
        counts: number of values of each block.
        widths: number of bits of each block's values, 1 to 64; sums are modulo 2^width.

    Raises:
        InvalidInput: the lists differ in length, or a number is out of range.
    """

    counts: tuple[int, ...]
    widths: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.counts) != len(self.widths) or not sum(self.counts) or min(self.counts) < 0:
            raise InvalidInput(f"A vector has blocks of {self.counts} values with {self.widths} bits.")
        for width in self.widths:
            word_type(width)

    @property
    def digest(self) -> str:
        """SHA-256 of the layout."""
        return digest(["layout", self.counts, self.widths])

    @property
    def packed_bytes(self) -> int:
        """Number of bytes of a packed vector."""
        return sum(packed_size(count, width) for count, width in zip(self.counts, self.widths, strict=True))


class VectorSum:
    """A vector to which vectors and masks are added in place. It starts with zeros."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        starts, size = [], 0
        for count, width in zip(layout.counts, layout.widths, strict=True):
            starts.append(size)
            size += -(-count * np.dtype(word_type(width)).itemsize // _ALIGNED) * _ALIGNED
        self._zeros, self._stream = _zeros(size), np.zeros(size, np.uint8)
        self._sums = self._views(np.zeros(size, np.uint8), starts)
        # As numbers, the keystream is little-endian on every machine.
        self._masks = [view.view(view.dtype.newbyteorder("<")) for view in self._views(self._stream, starts)]

    def add(self, blocks: Sequence[Unsigned]) -> None:
        """Add a vector.

        Raises:
            InvalidInput: its blocks are not those of the layout.
        """
        given = [(block.shape, block.dtype) for block in blocks]
        if given != [(each.shape, each.dtype) for each in self._sums]:
            raise InvalidInput(
                f"A vector has blocks {given}, expected {self._layout.counts} values of "
                f"{[each.dtype.name for each in self._sums]}."
            )
        for total, block in zip(self._sums, blocks, strict=True):
            np.add(total, block, out=total)

    def add_packed(self, data: bytes) -> None:
        """Add a vector that `packed` returned.

        Raises:
            InvalidInput: the bytes are no such vector.
        """
        view, start, blocks = memoryview(data), 0, []
        for count, width in zip(self._layout.counts, self._layout.widths, strict=True):
            size = packed_size(count, width)
            blocks.append(unpack(view[start : start + size], count, width))
            start += size
        self.add(blocks)

    def add_mask(self, key: bytes, *, times: int = 1) -> None:
        """Add the mask of a key of 32 bytes, or subtract it (`times` = -1)."""
        Cipher(algorithms.ChaCha20(key, _NONCE), mode=None).encryptor().update_into(
            self._zeros, self._stream.data
        )
        change = np.add if times > 0 else np.subtract
        for total, mask in zip(self._sums, self._masks, strict=True):
            change(total, mask, out=total)

    def copy(self) -> VectorSum:
        """Return a vector of equal values."""
        other = VectorSum(self._layout)
        other.add(self._sums)
        return other

    def blocks(self) -> tuple[Unsigned, ...]:
        """Return the blocks modulo 2^width, as uint32 up to 32 bits, else uint64."""
        # Sums are modulo 2^32 or 2^64 until here, and 2^width divides those.
        return tuple(
            total & total.dtype.type((1 << width) - 1)
            for total, width in zip(self._sums, self._layout.widths, strict=True)
        )

    def packed(self) -> bytes:
        """Return the blocks modulo 2^width, one after another, packed."""
        return b"".join(
            pack(block, width) for block, width in zip(self.blocks(), self._layout.widths, strict=True)
        )

    def _views(
        self, data: np.ndarray[tuple[int], np.dtype[np.uint8]], starts: Sequence[int]
    ) -> list[Unsigned]:
        views: list[Unsigned] = []
        for start, count, width in zip(starts, self._layout.counts, self._layout.widths, strict=True):
            kind = np.dtype(word_type(width))
            views.append(data[start : start + count * kind.itemsize].view(kind))
        return views


# All vectors of a job have a few layouts.
@lru_cache(maxsize=4)
def _zeros(size: int) -> bytes:
    return bytes(size)
