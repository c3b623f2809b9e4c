"""Models and updates as bytes, in the safetensors format, whose reader executes no code."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from models.errors import CorruptArtifact, FedrecError
from models.federation.contribution import Contribution
from models.federation.model import ClientUpdate, GlobalModel, Moments
from models.kernel.arrays import ArrayGroup
from models.kernel.json_values import count, number, whole
from models.kernel.metric import Metric, metric_from_client
from models.kernel.packed import KeptRows, PackedArrays
from models.kernel.ranges import Range
from models.recommenders.families.registry import contribution_types, model_types

_HEADER = "fedrec"
_Group = TypeVar("_Group", bound=ArrayGroup)
# Prefix of the names of a server optimiser's arrays, which are in the same file as the items' arrays.
_MOMENTS = "moments."
# Prefix of the names of arrays of row numbers, which packed arrays of an update need.
_ROWS = "rows of "
# How many times as large a file may be as its compressed bytes, so that a small one cannot fill its reader's
# memory. Honest ones are less than ten times as large.
_MOST_TIMES = 64
_COMPRESSED = "compressed"


def encode(arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> bytes:
    """Return named arrays and JSON facts as one safetensors file; equal input gives equal bytes."""
    # All facts share one metadata key, because safetensors does not fix the order of several keys.
    header = {_HEADER: json.dumps(facts, sort_keys=True, allow_nan=False)}
    data: bytes = save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, metadata=header)
    return data


def decode(data: bytes, origin: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays and facts that `encode` wrote.

    Args:
        data: the file's bytes.
        origin: the file's name in error messages.

    Raises:
        CorruptArtifact: `encode` did not write these bytes.
    """
    try:
        arrays = load(data)
        length = int.from_bytes(data[:8], "little")
        facts = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_HEADER])
        if not isinstance(facts, dict):
            raise TypeError(f"its facts are a {type(facts).__name__}")
    # RecursionError: JSON nested thousands of levels deep.
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptArtifact(f"{origin} is not a fedrec safetensors file: {error}.") from error
    return arrays, facts


def decode_packed(
    data: bytes, origin: str, most: int | None = None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays and facts of a file, or of the file in it if it is a compressed one.

    Args:
        data: the file's bytes.
        origin: the file's name in error messages.
        most: largest number of bytes of the file in it; None for `_MOST_TIMES` of the compressed ones alone.

    Raises:
        CorruptArtifact: `encode` did not write these bytes, or those in it, or they are too many.
    """
    arrays, facts = decode(data, origin)
    if facts.get("kind") != _COMPRESSED:
        return arrays, facts
    return decode(_uncompressed(arrays, origin, most), origin)


def encode_model(model: GlobalModel) -> bytes:
    """Return a global model as bytes. They do not name the job, so that equal models have equal hashes."""
    facts = {"kind": "global_model", "round": model.round, "catalog_digest": model.catalog_digest}
    arrays = dict(model.items.named())
    if model.moments is not None:
        arrays |= {f"{_MOMENTS}{name}": array for name, array in model.moments.named()}
    return encode(arrays, facts)


def decode_model(data: bytes, origin: str = "The model") -> GlobalModel:
    """Return the global model that `encode_model` wrote.

    Raises:
        CorruptArtifact: the bytes are not a global model.
    """
    arrays, facts = _of_kind("global_model", data, origin)
    moments = {
        name.removeprefix(_MOMENTS): arrays.pop(name) for name in [*arrays] if name.startswith(_MOMENTS)
    }
    with WellFormed(origin):
        return GlobalModel(
            round=count(facts["round"], "round"),
            catalog_digest=facts["catalog_digest"],
            items=_group(_with_one_accumulator(arrays), model_types()),
            moments=Moments(**moments) if moments else None,
        )


def encode_update(update: ClientUpdate, *, compressed: bool = False) -> bytes:
    """Return a client's update as bytes, its rounded arrays as whole numbers of steps.

    Args:
        update: the update.
        compressed: whether it is compressed (DEFLATE, RFC 1951).

    Raises:
        InvalidInput: a value is not one of its range.
    """
    contribution = update.contribution
    facts = {
        "kind": "client_update",
        "client_id": update.client_id,
        "base_round": update.base_round,
        "base_digest": update.base_digest,
        "catalog_digest": update.catalog_digest,
        "weight": contribution.weight,
        "interactions": contribution.interactions,
        "metrics": {name: [metric.total, metric.weight] for name, metric in contribution.metrics.items()},
        "ranges": {
            name: [each.lowest, each.highest, each.step] for name, each in contribution.ranges.items()
        },
    }
    arrays = {
        name: contribution.ranges[name].in_steps(array, contribution.weight)
        if name in contribution.ranges
        else array
        for name, array in contribution.arrays.named()
    }
    if isinstance(contribution.arrays, PackedArrays):
        numbers, facts["rows"] = _encoded_rows(contribution.arrays.rows)
        arrays |= numbers
    data = encode(arrays, facts)
    return compressed_file(data) if compressed else data


def decode_update(data: bytes, origin: str = "The update", most: int | None = None) -> ClientUpdate:
    """Return the update that `encode_update` wrote.

    Args:
        data: the update's bytes.
        origin: its name in error messages.
        most: as in `decode_packed`.

    Raises:
        CorruptArtifact: the bytes are not an update.
    """
    arrays, facts = decode_packed(data, origin, most)
    _require_kind("client_update", facts, origin)
    with WellFormed(origin):
        ranges = {name: _range(*ends) for name, ends in facts["ranges"].items()}
        weight = number(facts["weight"], "weight")
        return ClientUpdate(
            client_id=facts["client_id"],
            base_round=facts["base_round"],
            base_digest=facts["base_digest"],
            catalog_digest=facts["catalog_digest"],
            contribution=Contribution(
                arrays=_contributed(
                    {name: _values(array, ranges.get(name), weight) for name, array in arrays.items()},
                    facts.get("rows", {}),
                ),
                weight=weight,
                interactions=whole(facts["interactions"], "number of interactions"),
                metrics={name: _metric(name, *pair) for name, pair in facts["metrics"].items()},
                ranges=ranges,
            ),
        )


def encode_masked(client_id: str, sum_id: str, message: bytes) -> bytes:
    """Return a client's masked update as bytes."""
    facts = {"kind": "masked_update", "client_id": client_id, "sum": sum_id}
    return encode({"message": np.frombuffer(message, np.uint8)}, facts)


def decode_masked(data: bytes, origin: str = "The update") -> bytes:
    """Return the message that `encode_masked` wrote. It names client and sum itself, under a signature.

    Raises:
        CorruptArtifact: the bytes are not a masked update.
    """
    arrays, _ = _of_kind("masked_update", data, origin)
    with WellFormed(origin):
        message = arrays.pop("message")
        if arrays or message.dtype != np.uint8 or message.ndim != 1:
            raise ValueError("its message is not a list of bytes")
        return message.tobytes()


def _encoded_rows(rows: Mapping[str, KeptRows]) -> tuple[dict[str, np.ndarray], dict[str, list[object]]]:
    """Return arrays of row numbers, and array name -> [name of its row numbers, number of rows]."""
    arrays: dict[str, np.ndarray] = {}
    facts: dict[str, list[object]] = {}
    names: dict[bytes, str] = {}
    for name, kept in sorted(rows.items()):
        row_name = names.setdefault(kept.numbers.tobytes(), f"{_ROWS}{name}")
        arrays[row_name], facts[name] = kept.numbers, [row_name, kept.size]
    return arrays, facts


def _contributed(
    arrays: Mapping[str, np.ndarray], rows: Mapping[str, Any]
) -> ArrayGroup | PackedArrays[ArrayGroup]:
    if not rows:
        return _group(arrays, contribution_types())
    kept = {name: KeptRows(arrays[of], whole(size, "number of rows")) for name, (of, size) in rows.items()}
    used = {numbers for numbers, _ in rows.values()}
    values = {name: array for name, array in arrays.items() if name not in used}
    return PackedArrays(_kind(values, contribution_types()), values, kept)


def _group(arrays: Mapping[str, np.ndarray], kinds: tuple[type[_Group], ...]) -> _Group:
    return _kind(arrays, kinds)(**arrays)


def _kind(arrays: Mapping[str, np.ndarray], kinds: tuple[type[_Group], ...]) -> type[_Group]:
    # The registry of families holds that no two kinds have arrays of the same names.
    for kind in kinds:
        if kind.AXES.keys() == arrays.keys():
            return kind
    raise ValueError(f"its arrays are {', '.join(sorted(arrays)) or 'none'}")


def _range(lowest: object, highest: object, step: object) -> Range:
    return Range(whole(lowest, "end of a range"), whole(highest, "end of a range"), number(step, "step"))


def _values(array: np.ndarray, range_: Range | None, weight: float) -> np.ndarray:
    """Return a contribution's array as floats, if it travelled as whole numbers of steps."""
    if range_ is None:
        return array
    if array.dtype != range_.dtype(weight):
        raise ValueError(f"an array of steps has type {array.dtype}, expected {range_.dtype(weight)}")
    lowest, highest = range_.ends(weight)
    if array.size and not lowest <= int(array.min()) <= int(array.max()) <= highest:
        raise ValueError(f"a value is not one of {lowest} to {highest} steps")
    return range_.of_steps(array)


def _with_one_accumulator(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a model's arrays with one accumulator an embedding. Earlier versions stored one a dimension."""
    sums = arrays.get("embedding_accumulators")
    if sums is None or sums.ndim == 1:
        return arrays
    return arrays | {"embedding_accumulators": sums.mean(axis=1, dtype=np.float64).astype(np.float32)}


def _metric(name: str, total: object, weight: object) -> Metric:
    return metric_from_client(name, number(total, "metric"), number(weight, "metric"))


def _of_kind(kind: str, data: bytes, origin: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    arrays, facts = decode(data, origin)
    _require_kind(kind, facts, origin)
    return arrays, facts


def _require_kind(kind: str, facts: Mapping[str, Any], origin: str) -> None:
    if facts.get("kind") != kind:
        raise CorruptArtifact(f"{origin} holds a {facts.get('kind')!r}, expected a {kind!r}.")


def compressed_file(data: bytes) -> bytes:
    """Return a file's bytes in a compressed file, or as they are if compression would pass the limit."""
    smaller = zlib.compress(data)
    if len(data) > _MOST_TIMES * len(smaller):
        return data
    return encode({"zlib": np.frombuffer(smaller, np.uint8)}, {"kind": _COMPRESSED})


def _uncompressed(arrays: Mapping[str, np.ndarray], origin: str, most: int | None) -> bytes:
    with WellFormed(origin):
        smaller = arrays["zlib"].tobytes()
        limit = _MOST_TIMES * len(smaller)
        if most is not None:
            limit = min(limit, most)
        reader = zlib.decompressobj()
        try:
            data = reader.decompress(smaller, limit)
        except zlib.error as error:
            raise ValueError(f"its compressed bytes are damaged: {error}") from error
        if not reader.eof or reader.unused_data:
            raise ValueError(f"its compressed bytes do not end where they should, after {len(data)} bytes")
    return data


class WellFormed:
    """Converts the exceptions that wrong arrays or facts raise to `CorruptArtifact`."""

    def __init__(self, origin: str) -> None:
        self.origin = origin

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (KeyError, TypeError, ValueError, AttributeError, OverflowError, FedrecError)):
            raise CorruptArtifact(
                f"{self.origin} lacks a part, or a part has a wrong form: {error}"
            ) from error
