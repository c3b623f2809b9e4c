"""Strings in two memory-mapped files: the texts one after another, and the offset at which each begins."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt

from models.errors import CorruptArtifact


class PackedStrings(Sequence[str]):
    """A list of strings in mapped memory, which all processes that map the files share.

    `texts` is a view of all strings as bytes, so that one search covers them all.

    Args:
        texts: (bytes,) UTF-8 of all strings, one after another.
        starts: (n + 1,) the offset at which each string begins, then the offset at which the last one ends.
    """

    def __init__(self, texts: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64]) -> None:
        # Reading single elements of a memoryview is many times faster than of an array.
        self.texts = texts.data if texts.size else memoryview(b"")
        self._starts = starts.data
        self._sorted = starts
        self._length = len(starts) - 1

    def at(self, byte: int) -> int:
        """Return the position of the string that the byte at this offset of `texts` belongs to."""
        return int(np.searchsorted(self._sorted, byte, side="right")) - 1

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> list[str]: ...

    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(self._length))]
        row = place + self._length if place < 0 else place
        if not 0 <= row < self._length:
            raise IndexError(place)
        return str(self.texts[self._starts[row] : self._starts[row + 1]], "utf-8")

    def __iter__(self) -> Iterator[str]:
        # Decoding all texts at once is many times faster than decoding one at a time.
        text = str(self.texts, "utf-8")
        if len(text) == len(self.texts):
            starts = self._sorted.tolist()
            return (text[begin:end] for begin, end in itertools.pairwise(starts))
        return (self[place] for place in range(len(self)))


def write_strings(folder: Path, name: str, strings: Iterable[str]) -> None:
    """Write the strings to `NAME.texts.npy` and `NAME.starts.npy` in the folder."""
    encoded = [each.encode() for each in strings]
    starts = np.zeros(len(encoded) + 1, dtype=np.int64)
    np.cumsum([len(each) for each in encoded], out=starts[1:])
    np.save(folder / f"{name}.texts.npy", np.frombuffer(b"".join(encoded), dtype=np.uint8))
    np.save(folder / f"{name}.starts.npy", starts)


def open_strings(folder: Path, name: str) -> PackedStrings:
    """Return the strings that `write_strings` wrote, mapped into memory.

    Raises:
        CorruptArtifact: the two files do not belong together.
        OSError, ValueError: a file is missing or is not an array.
    """
    texts = np.load(folder / f"{name}.texts.npy", mmap_mode="r", allow_pickle=False)
    starts = np.load(folder / f"{name}.starts.npy", mmap_mode="r", allow_pickle=False)
    is_consistent = (
        texts.dtype == np.uint8
        and starts.dtype == np.int64
        and texts.ndim == starts.ndim == 1
        and starts.size > 0
        and starts[0] == 0
        and starts[-1] == texts.size
        and bool((np.diff(starts) >= 0).all())
    )
    if not is_consistent:
        raise CorruptArtifact(f"{folder / name}: texts and starts do not belong together.")
    return PackedStrings(texts, starts)
