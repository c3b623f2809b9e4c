"""Ways in which a client's update can be wrong or damaged, with the reason for which each is refused."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from models.federation.model import ClientUpdate, ItemArrays
from tasks.exchange.codec import decode_update, encode_update

TERABYTE = 2**40
Change = Callable[[bytes], bytes]


def replaced(**facts: Any) -> Change:
    """Return a change that replaces facts of an update."""
    return lambda data: encode_update(dataclasses.replace(decode_update(data), **facts))


def contributing(**facts: Any) -> Change:
    """Return a change that replaces facts of an update's contribution."""

    def changed(data: bytes) -> bytes:
        update: ClientUpdate = decode_update(data)
        contribution = dataclasses.replace(update.contribution, **facts)
        return encode_update(dataclasses.replace(update, contribution=contribution))

    return changed


def with_arrays(change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> Change:
    """Return a change that replaces arrays of an update."""

    def changed(data: bytes) -> bytes:
        update: ClientUpdate = decode_update(data)
        arrays = {name: array.copy() for name, array in update.contribution.arrays.named()}
        # As floats, because our own encoder writes no step outside a range.
        contribution = dataclasses.replace(
            update.contribution, arrays=ItemArrays(**change(arrays)), ranges={}
        )
        return encode_update(dataclasses.replace(update, contribution=contribution))

    return changed


def with_header(old: bytes, new: bytes) -> Change:
    """Return a change of the header's text, which our own encoder refuses to write."""

    def changed(data: bytes) -> bytes:
        end = 8 + int.from_bytes(data[:8], "little")
        assert old in data[8:end]
        header = data[8:end].replace(old, new)
        return len(header).to_bytes(8, "little") + header + data[end:]

    return changed


def nan(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    arrays["embeddings"][3, 1] = np.nan
    return arrays


def narrower(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array[:, :-1] if array.ndim == 2 else array for name, array in arrays.items()}


def doubles(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array.astype(np.float64) for name, array in arrays.items()}


def huge(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return arrays | {"embeddings": arrays["embeddings"] + np.float32(1e6)}


def flipped(data: bytes) -> bytes:
    return data[:-7] + bytes([data[-7] ^ 4]) + data[-6:]


def halved(data: bytes) -> bytes:
    return data[: len(data) // 2]


def stored(change: Change) -> Callable[[Path], None]:
    """Return the same change for the bytes of a file."""
    return lambda path: (path.write_bytes(change(path.read_bytes())), None)[1]


def grown(path: Path) -> None:
    """Extend the file to a terabyte, nearly all of it a hole that takes no space on the disk."""
    os.truncate(path, TERABYTE)


# What a client sends in place of its update, with an honest SHA-256 and size, and the reason of its refusal.
# The small world of the tests has 40 items, and these jobs have 4 dims.
SENT: dict[str, tuple[Change, str]] = {
    "NaN": (with_arrays(nan), "finite values only"),
    "wrong shape": (with_arrays(narrower), "arrays of the base model's shape"),
    "wrong dtype": (with_arrays(doubles), "arrays of float32"),
    "huge norm": (with_arrays(huge), "an embedding norm"),
    "stale base round": (replaced(base_round=0), "base round"),
    "another base model": (replaced(base_digest="0" * 64), "base model"),
    "foreign catalogue": (replaced(catalog_digest="f" * 64), "item catalogue"),
    "a weight of its own": (contributing(weight=1e9), "the weight that the merge rule gives"),
    "interactions that it does not have": (
        contributing(interactions=10**9),
        "no more interactions than the client had when its data were checked",
    ),
    "another client's name": (replaced(client_id="birch"), "names client 'birch'"),
    "metrics that are no numbers": (with_header(b"[8.0, 1]", b"[NaN, 1]"), "metric"),
    "half an update": (halved, "is not a fedrec safetensors file"),
    "too much behind its arrays": (lambda data: data + bytes(2**20), "but its arrays have"),
    "a header of exabytes": (lambda data: (2**60).to_bytes(8, "little") + data[8:], "header too large"),
    "arrays of terabytes": (
        with_header(b'"shape":[40,4]', b'"shape":[400000000000,4]'),
        "is not a fedrec safetensors file",
    ),
}
# What happens to the stored object.
STORED: dict[str, tuple[Callable[[Path], None], str]] = {
    "bit flip": (stored(flipped), "SHA-256"),
    "truncation": (stored(halved), "bytes"),
    "loss": (Path.unlink, "missing"),
    "growth": (grown, f"has {TERABYTE} bytes, expected"),
}
