"""Updates that are damaged or wrong when they reach the merge: refused, each for its round alone."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.federation.model import ClientUpdate, ItemArrays
from tasks.codec import decode_update, encode_update
from tasks.exchange import ArtifactRef, Exchange


def replaced(**facts: Any) -> Any:
    """The update says something else."""
    return lambda update: dataclasses.replace(update, **facts)


def with_embeddings(change: Any) -> Any:
    """The update's embeddings, changed."""

    def changed(update: ClientUpdate) -> ClientUpdate:
        arrays = {name: array.copy() for name, array in update.deltas.named()}
        return dataclasses.replace(update, deltas=ItemArrays(**change(arrays)))

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


def with_header(data: bytes, old: bytes, new: bytes) -> bytes:
    """A safetensors file with another text in its header, which our own encoder refuses to write."""
    end = 8 + int.from_bytes(data[:8], "little")
    assert old in data[8:end]
    header = data[8:end].replace(old, new)
    return len(header).to_bytes(8, "little") + header + data[end:]


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-7] ^= 4
    path.write_bytes(data)


def shortened(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


# What a client sends in place of its update: well-formed bytes with an honest SHA-256, and the reason given.
SENT = {
    "NaN": (with_embeddings(nan), "finite values only"),
    "wrong shape": (with_embeddings(narrower), "arrays of the base model's shape"),
    "wrong dtype": (with_embeddings(doubles), "arrays of float32"),
    "huge norm": (with_embeddings(huge), "an embedding norm"),
    "stale base round": (replaced(base_round=0), "base round"),
    "another base model": (replaced(base_digest="0" * 64), "base model"),
    "foreign catalogue": (replaced(catalog_digest="f" * 64), "item catalogue"),
    "another client's name": (replaced(client_id="birch"), "names client 'birch'"),
    "metrics that are no numbers": (replaced(metrics={}), "metric"),
}
# What happens to the stored object on its way.
STORED = {
    "bit flip": (flipped, "SHA-256"),
    "truncation": (shortened, "bytes"),
    "loss": (Path.unlink, "missing"),
}


def test_every_kind_of_damage(federation: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In each round but the first and last of one job, cedar's update is damaged in another way."""
    kinds = [*SENT, *STORED]
    config = federation.config(federation={"rounds": len(kinds) + 2})
    put = Exchange.put

    def damaging(self: Exchange, folder: str, data: bytes) -> ArtifactRef:
        _, _, place = folder.partition("/updates/")
        round_, _, client_id = place.partition("/")
        # Round 1 is good, so that "stale" can name an older model than the base.
        kind = kinds[int(round_) - 2] if client_id == "cedar" and 2 <= int(round_) < len(kinds) + 2 else None
        if kind == "metrics that are no numbers":
            data = with_header(data, b"[8, 1]", b"[NaN, 1]")
        elif kind in SENT:
            data = encode_update(SENT[kind][0](decode_update(data)))
        ref = put(self, folder, data)
        if kind in STORED:
            STORED[kind][0](federation.home.exchange / ref.path)
        return ref

    monkeypatch.setattr(Exchange, "put", damaging)
    result = federation.run(config)
    federation.check(config, result, {round_ + 2: {"cedar": "update"} for round_ in range(len(kinds))})
    for round_, kind in enumerate(kinds, 2):
        (rejection,) = result["rounds"][round_ - 1]["rejected"]
        assert ({**SENT, **STORED}[kind][1]) in rejection["reason"], kind
