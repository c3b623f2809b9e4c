"""Models and updates as bytes: they are read back as written, and no other bytes are accepted."""

from __future__ import annotations

import json
import struct
import tracemalloc
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from safetensors.numpy import save

from models.errors import CorruptArtifact, InvalidInput
from models.federation.contribution import Contribution
from models.federation.fixed_point import rounded
from models.federation.model import ClientUpdate, GlobalModel, ItemArrays, ItemModel, Moments
from models.kernel.arrays import ArrayGroup
from models.kernel.metric import Metric
from models.kernel.packed import packed, shapes_of, with_rows
from models.kernel.ranges import Range
from models.recommenders.additive.blend import BlendFamily, BlendSpec
from models.recommenders.additive.ease import EaseStatistics
from models.recommenders.additive.ials import IalsFamily, IalsSpec, IalsStatistics
from models.recommenders.additive.next_item import NextItemStatistics
from models.recommenders.items.item_weights import ItemWeights
from tasks.exchange.codec import (
    decode,
    decode_masked,
    decode_model,
    decode_update,
    encode,
    encode_masked,
    encode_model,
    encode_update,
)


@st.composite
def item_arrays(draw: st.DrawFn) -> ItemArrays:
    items, dims = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    floats = st.floats(width=32)  # NaN, infinities and both zeros too
    shapes = ((items, dims), (items,), (items,), (items,))
    return ItemArrays(*(draw(npst.arrays(np.float32, shape, elements=floats)) for shape in shapes))


@st.composite
def moments(draw: st.DrawFn) -> Moments:
    items, dims = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    shapes = ((items, dims), (items,), (items, dims), (items,))
    return Moments(*(draw(npst.arrays(np.float32, shape, elements=st.floats(width=32))) for shape in shapes))


@st.composite
def rounded_contributions(draw: st.DrawFn) -> Contribution[ItemArrays]:
    """Draw a contribution rounded to drawn ranges, perhaps without its rows of zeros."""
    items, dims = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    floats = st.just(0.0) | st.floats(allow_nan=False, width=32)
    shapes = ((items, dims), (items,), (items,), (items,))
    arrays = ItemArrays(*(draw(npst.arrays(np.float32, shape, elements=floats)) for shape in shapes))
    weight = float(draw(st.integers(0, 10**6)))
    contribution = Contribution(packed(arrays) if draw(st.booleans()) else arrays, weight)
    return rounded(contribution, {name: draw(RANGES) for name in ItemArrays.names()})


RANGES = st.builds(
    Range,
    lowest=st.integers(-(2**40), 0),
    highest=st.integers(1, 2**40),
    step=st.integers(-30, 10).map(lambda exponent: 2.0**exponent),
)


METRICS = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9_@.-]{0,4}", fullmatch=True),
    st.builds(Metric, st.floats(-1e6, 1e6), st.just(0.0) | st.floats(1e-6, 1e6)),
    max_size=3,
)
MODELS = st.builds(
    GlobalModel, st.integers(0, 10**6), st.text(max_size=9), item_arrays(), st.none() | moments()
)
UPDATES = st.builds(
    ClientUpdate,
    client_id=st.text(max_size=9),
    base_round=st.integers(0, 10**6),
    base_digest=st.text(max_size=9),
    catalog_digest=st.text(max_size=9),
    contribution=st.builds(
        Contribution, item_arrays(), st.floats(0, 1e9), st.integers(0, 10**9), metrics=METRICS
    ),
)


def an_update() -> ClientUpdate:
    arrays = ItemArrays(*(np.full(s, 0.5, np.float32) for s in ((3, 2), (3,), (3,), (3,))))
    return ClientUpdate("ash", 4, "base", "cat", Contribution(arrays, 1.0, 17, {"users": Metric(8.0, 1.0)}))


def a_model() -> GlobalModel:
    return GlobalModel(4, "cat", an_update().contribution.arrays)


def bits(arrays: ItemArrays) -> list[tuple[str, str, tuple[int, ...], bytes]]:
    return [(name, str(array.dtype), array.shape, array.tobytes()) for name, array in arrays.named()]


@settings(max_examples=40)
@given(MODELS)
def test_a_model_is_read_back_bit_by_bit(model):
    data = encode_model(model)
    back = decode_model(data)
    assert (back.round, back.catalog_digest) == (model.round, model.catalog_digest)
    assert bits(back.items) == bits(model.items)
    assert (back.moments and bits(back.moments)) == (model.moments and bits(model.moments))
    assert encode_model(back) == data


@settings(max_examples=40)
@given(UPDATES)
def test_an_update_is_read_back_bit_by_bit(update):
    data = encode_update(update)
    back = decode_update(data)
    assert replace(back, contribution=update.contribution) == update
    assert replace(back.contribution, arrays=update.contribution.arrays) == update.contribution
    assert bits(back.contribution.arrays) == bits(update.contribution.arrays)
    assert encode_update(back) == data


@settings(max_examples=100)
@given(rounded_contributions())
def test_whole_numbers_of_steps_are_read_back_bit_by_bit(contribution):
    update = replace(an_update(), contribution=contribution)
    data = encode_update(update)
    for name, array in decode(data, "")[0].items():
        assert array.dtype.kind in "iu", name
    back = decode_update(data).contribution
    assert (back.ranges, back.metrics, back.weight) == (
        contribution.ranges,
        contribution.metrics,
        contribution.weight,
    )
    assert bits(back.arrays) == bits(contribution.arrays)
    assert shapes_of(back.arrays) == shapes_of(contribution.arrays)
    assert encode_update(replace(update, contribution=back)) == data


def test_a_value_beside_the_steps_is_not_written():
    update = an_update()
    wrong = replace(update.contribution, ranges={"biases": Range(-10, 10, 1.0)})
    with pytest.raises(InvalidInput, match="A value is not one of -10 to 10 steps of 1"):
        encode_update(replace(update, contribution=wrong))


@pytest.mark.parametrize(
    "ranges",
    [
        None,
        [],
        {"biases": None},
        {"biases": [-10, 10]},
        {"biases": [-10, 10, 0.5, 1]},
        {"biases": [-10.5, 10, 0.5]},
        {"biases": [-10, True, 0.5]},
        {"biases": [-10, 10, 0.3]},
        {"biases": [-10, 10, "0.5"]},
        {"biases": [1, 10, 0.5]},
        {"biases": [-10, 10**400, 0.5]},
    ],
)
def test_an_update_of_impossible_ranges_is_refused(ranges):
    with pytest.raises(CorruptArtifact, match="lacks a part, or a part has a wrong form"):
        decode_update(file_with(json.dumps(an_update_s_facts() | {"ranges": ranges})))


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.array([11, 0, 0], np.int8), "not one of -10 to 10 steps"),
        (np.array([0, 0, -11], np.int8), "not one of -10 to 10 steps"),
        (np.array([1, 0, 0], np.int16), "type int16, expected int8"),
        (np.array([1, 0, 0], np.uint8), "type uint8, expected int8"),
        (np.array([1, 0, 0], np.float32), "type float32, expected int8"),
        (np.array([np.nan, 0, 0], np.float32), "type float32, expected int8"),
        (np.array([True, False, False]), "type bool, expected int8"),
    ],
)
def test_whole_numbers_that_do_not_fit_their_range_are_refused(array, reason):
    contribution = rounded(an_update().contribution, dict.fromkeys(ItemArrays.names(), Range(-10, 10, 0.5)))
    arrays, facts = decode(encode_update(replace(an_update(), contribution=contribution)), "")
    with pytest.raises(CorruptArtifact, match=reason):
        decode_update(encode(arrays | {"biases": array}, facts))


def test_a_model_of_an_accumulator_for_each_dimension_has_their_mean():
    """Models were stored in this way before all dimensions of an embedding shared one accumulator."""
    facts = {"kind": "global_model", "round": 4, "catalog_digest": "cat"}
    arrays = dict(a_model().items.named())
    sums = np.array([[1, 2], [1, 1], [4, 5]], np.float32)
    found = decode_model(encode(arrays | {"embedding_accumulators": sums}, facts)).items
    assert found.embedding_accumulators.dtype == np.float32
    assert found.embedding_accumulators.tolist() == [1.5, 1.0, 4.5]
    assert bits(found)[:2] == bits(a_model().items)[:2]


def a_packed_update(**changes: object) -> ClientUpdate:
    """Return an update of items 1 and 3 of 9."""
    arrays = ItemArrays(*(np.full(shape, 0.5, np.float32) for shape in ((2, 2), (2,), (2,), (2,))))
    contribution = replace(an_update().contribution, arrays=with_rows(arrays, np.array([1, 3], np.int32), 9))
    return replace(an_update(), contribution=contribution)


def test_a_packed_update_is_read_back_bit_by_bit():
    update = a_packed_update()
    data = encode_update(update)
    back = decode_update(data)
    arrays, found = update.contribution.arrays, back.contribution.arrays
    assert bits(found) == bits(arrays)
    assert shapes_of(found) == {
        "embeddings": (9, 2),
        "biases": (9,),
        "embedding_accumulators": (9,),
        "bias_accumulators": (9,),
    }
    assert {name: kept.numbers.tolist() for name, kept in found.rows.items()} == {
        name: [1, 3] for name in ItemArrays.names()
    }
    assert encode_update(back) == data
    assert [name for name in decode(data, "")[0] if name not in ItemArrays.names()] == [
        "rows of bias_accumulators"
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays, rows: rows.update(biases=["rows of bias_accumulators", -1]),
        lambda arrays, rows: rows.update(biases=["rows of bias_accumulators", 3]),
        lambda arrays, rows: rows.update(biases=["rows of bias_accumulators", "9"]),
        lambda arrays, rows: rows.update(biases=["rows of bias_accumulators", 1e300]),
        lambda arrays, rows: rows.update(biases=["missing", 9]),
        lambda arrays, rows: rows.update(biases=["embeddings", 9]),
        lambda arrays, rows: rows.update(biases=["biases", 9]),
        lambda arrays, rows: rows.update(biases=[]),
        lambda arrays, rows: rows.update(biases=None),
        lambda arrays, rows: rows.update(biases=[["rows of bias_accumulators"], 9]),
        lambda arrays, rows: rows.update(users=["rows of bias_accumulators", 9]),
        lambda arrays, rows: rows.clear(),
        lambda arrays, rows: arrays.update({"rows of bias_accumulators": np.array([3, 1], np.int32)}),
        lambda arrays, rows: arrays.update({"rows of bias_accumulators": np.array([1, 2, 3], np.int32)}),
        lambda arrays, rows: arrays.update({"rows of bias_accumulators": np.array([1, 3], np.int64)}),
        lambda arrays, rows: arrays.update({"rows of bias_accumulators": np.array([1.0, 3.0], np.float32)}),
        lambda arrays, rows: arrays.update({"rows of bias_accumulators": np.array([[1, 3]], np.int32)}),
        lambda arrays, rows: arrays.update({"users": np.array([1, 3], np.int32)}),
    ],
)
def test_an_update_whose_row_numbers_do_not_fit_is_refused(change):
    arrays, facts = decode(encode_update(a_packed_update()), "")
    change(arrays, facts["rows"])
    with pytest.raises(CorruptArtifact):
        decode_update(encode(arrays, facts))


@pytest.mark.parametrize("rows", [[], "embeddings", 7, True])
def test_an_update_whose_rows_are_no_object_is_refused(rows):
    arrays, facts = decode(encode_update(a_packed_update()), "")
    with pytest.raises(CorruptArtifact):
        decode_update(encode(arrays, facts | {"rows": rows}))


def test_layout_in_memory_and_order_of_facts_do_not_change_the_bytes():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    plain = encode({"a": array, "b": array}, {"x": 1, "y": 2})
    assert encode({"b": np.asfortranarray(array), "a": array}, {"y": 2, "x": 1}) == plain
    assert encode({"a": array, "b": array}, {"x": 1, "y": 3}) != plain


def test_facts_that_json_cannot_hold_are_not_written():
    with pytest.raises(ValueError, match="JSON compliant"):
        encode({}, {"x": float("nan")})


def refused(data: bytes) -> None:
    """Assert that each reader either refuses the bytes with `CorruptArtifact` or reads them."""
    for read in (decode_model, decode_update):
        with pytest.raises(CorruptArtifact):
            read(data, "The file")


@settings(max_examples=300)
@given(st.binary(max_size=300))
def test_random_bytes_are_refused(data):
    refused(data)


def test_every_truncation_is_refused():
    for whole, read in ((encode_model(a_model()), decode_model), (encode_update(an_update()), decode_update)):
        for length in range(len(whole)):
            with pytest.raises(CorruptArtifact):
                read(whole[:length])
        with pytest.raises(CorruptArtifact):
            read(whole + b"x")


@settings(max_examples=300)
@given(st.data())
def test_a_changed_byte_is_refused_or_read_and_never_another_error(data):
    whole = bytearray(encode_update(an_update()))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    try:
        decode_update(bytes(whole))
    except CorruptArtifact as error:
        assert "update" in str(error)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=200)
@given(JSON, st.sampled_from(["metrics", "client_id", "interactions", "weight", "ranges", "base_round"]))
def test_facts_of_any_form_are_refused_or_read(value, name):
    facts = an_update_s_facts() | {name: value}
    try:
        update = decode_update(file_with(json.dumps(facts)))
    except CorruptArtifact:
        return
    assert all(np.isfinite([each.total, each.weight]).all() for each in update.contribution.metrics.values())
    assert np.isfinite(update.contribution.weight)
    assert isinstance(update.contribution.interactions, int)


@pytest.mark.parametrize(
    "metrics",
    [
        {"m": [1.0]},
        {"m": [1.0, 2.0, 3.0]},
        {"m": ["a", 1.0]},
        {"m": [float("nan"), 1.0]},
        {"m": [1.0, float("inf")]},
        {"m": [1.7e308, 1.0]},
        {"m": [1.0, -1.0]},
        {"rmse": [-1.0, 1.0]},
        {"../m": [1.0, 1.0]},
        {"m": [10**400, 1]},
        {"m": None},
        [["m", [1.0, 1.0]]],
    ],
)
def test_metrics_that_would_spoil_the_sum_of_all_clients_are_refused(metrics):
    with pytest.raises(CorruptArtifact, match="lacks a part, or a part has a wrong form"):
        decode_update(file_with(json.dumps(an_update_s_facts() | {"metrics": metrics})))


@pytest.mark.parametrize(
    "facts", ["[]", "3", "null", '"text"', "{}", "not json", "[" * 100_000, '{"kind": []}']
)
def test_unknown_facts_are_refused(facts):
    refused(file_with(facts))


@pytest.mark.parametrize(
    "missing", ["client_id", "base_round", "metrics", "interactions", "ranges", "weight"]
)
def test_a_missing_fact_is_named(missing):
    facts = an_update_s_facts()
    del facts[missing]
    with pytest.raises(CorruptArtifact, match=missing):
        decode_update(file_with(json.dumps(facts)))


def test_one_kind_of_file_is_not_accepted_as_another():
    with pytest.raises(CorruptArtifact, match="The file holds a 'global_model', expected a 'client_update'"):
        decode_update(encode_model(a_model()), "The file")
    with pytest.raises(CorruptArtifact, match="'client_update', expected a 'global_model'"):
        decode_model(encode_update(an_update()))


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"embeddings": np.zeros((3, 2))},
        dict(an_update().contribution.arrays.named()) | {"more": np.zeros(3)},
        dict(an_update().contribution.arrays.named()) | {"biases": np.zeros(4, np.float32)},
        dict(an_update().contribution.arrays.named()) | {"embeddings": np.zeros(3, np.float32)},
    ],
)
def test_a_wrong_set_of_arrays_is_refused(arrays):
    facts = {"kind": "global_model", "round": 1, "catalog_digest": "cat"}
    with pytest.raises(CorruptArtifact, match="lacks a part, or a part has a wrong form"):
        decode_model(encode(arrays, facts))


@pytest.mark.parametrize(
    "header",
    [
        {"embeddings": {"dtype": "F32", "shape": [2**30, 64], "data_offsets": [0, 2**38]}},
        {"embeddings": {"dtype": "F32", "shape": [2**31], "data_offsets": [0, 16]}},
        {"embeddings": {"dtype": "F32", "shape": [0, 2**63], "data_offsets": [0, 0]}},
        {"embeddings": {"dtype": "F8_E4M3", "shape": [16], "data_offsets": [0, 16]}},
    ],
)
def test_a_header_that_promises_more_than_the_file_holds_allocates_nothing(header):
    tracemalloc.start()
    refused(raw_file(header, b"\0" * 16))
    refused(struct.pack("<Q", 2**40) + b"{}")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22


def an_update_s_facts() -> dict[str, Any]:
    return decode(encode_update(an_update()), "")[1]


def file_with(facts: str) -> bytes:
    """Return an update's file with these facts, whatever they are."""
    whole = encode_update(an_update())
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    header["__metadata__"] = {"fedrec": facts}
    return raw_file(header, whole[8 + length :])


def raw_file(header: dict[str, Any], body: bytes) -> bytes:
    head = json.dumps(header).encode()
    return struct.pack("<Q", len(head)) + head + body


ITEM_MODELS = [
    IalsFamily(IalsSpec(dims=2)).initial(3, seed=1),
    ItemWeights.of(np.arange(9.0).reshape(3, 3), 0.5, np.arange(3)),
]
STATISTICS = [
    IalsStatistics.zero(3, IalsSpec(dims=2)),
    EaseStatistics.zero(3),
    NextItemStatistics.zero(3),
    BlendFamily(BlendSpec()).nothing(3),
]


@pytest.mark.parametrize("items", ITEM_MODELS, ids=lambda items: type(items).__name__)
def test_a_model_of_any_family_is_read_back(items: ItemModel) -> None:
    decoded = decode_model(encode_model(GlobalModel(2, "cat", items)))
    assert (type(decoded.items), bits(decoded.items)) == (type(items), bits(items))


@pytest.mark.parametrize("part", STATISTICS, ids=lambda part: type(part).__name__)
def test_statistics_of_any_family_are_read_back_and_are_not_a_model(part: ArrayGroup) -> None:
    data = encode_update(replace(an_update(), contribution=Contribution(part)))
    back = decode_update(data).contribution.arrays
    assert (type(back), bits(back)) == (type(part), bits(part))
    facts = {"kind": "global_model", "round": 1, "catalog_digest": "cat"}
    with pytest.raises(CorruptArtifact, match="its arrays are"):
        decode_model(encode(dict(part.named()), facts))


@given(message=st.binary(max_size=3000))
def test_a_masked_update_s_message_is_read_back(message):
    data = encode_masked("ash", "train-000001", message)
    assert decode_masked(data) == message
    # It is no plain update, and a plain one is not masked.
    with pytest.raises(CorruptArtifact, match="'masked_update', expected a 'client_update'"):
        decode_update(data)
    with pytest.raises(CorruptArtifact, match="'client_update', expected a 'masked_update'"):
        decode_masked(encode_update(an_update()))


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"message": np.zeros(3, np.int8)},
        {"message": np.zeros((3, 1), np.uint8)},
        {"message": np.zeros(3, np.uint8), "embeddings": np.zeros((3, 2), np.float32)},
        {"other": np.zeros(3, np.uint8)},
    ],
)
def test_a_masked_update_of_other_arrays_is_refused(arrays):
    facts = {"kind": "masked_update", "client_id": "ash", "sum": "train-000001"}
    with pytest.raises(CorruptArtifact, match="lacks a part, or a part has a wrong form"):
        decode_masked(encode(arrays, facts))


def test_a_cut_or_lengthened_masked_update_is_refused():
    data = encode_masked("ash", "train-000001", b"message")
    for end in range(len(data)):
        with pytest.raises(CorruptArtifact):
            decode_masked(data[:end])
    with pytest.raises(CorruptArtifact):
        decode_masked(data + b"x")


def compressible() -> ClientUpdate:
    """Return an update of many equal values."""
    arrays = ItemArrays(
        np.full((200, 4), 0.25, np.float32), *(np.arange(200, dtype=np.float32) % 7 for _ in range(3))
    )
    ranges = dict.fromkeys(ItemArrays.names(), Range.counting(16, 2.0**-4))
    return ClientUpdate("ash", 1, "0" * 64, "1" * 64, rounded(Contribution(arrays), ranges))


def test_a_compressed_update_is_read_back_and_smaller():
    update = compressible()
    plain, small = encode_update(update), encode_update(update, compressed=True)
    assert len(small) < len(plain) / 2
    found = decode_update(small).contribution
    assert found.ranges == update.contribution.ranges
    for (name, array), (_, expected) in zip(
        found.arrays.named(), update.contribution.arrays.named(), strict=True
    ):
        assert np.array_equal(array, expected), name


def test_what_compression_would_make_too_small_is_not_compressed():
    zeros = ItemArrays(np.zeros((20_000, 4), np.float32), *(np.zeros(20_000, np.float32) for _ in range(3)))
    ranges = dict.fromkeys(ItemArrays.names(), Range.counting(16))
    update = ClientUpdate("ash", 1, "0" * 64, "1" * 64, rounded(Contribution(zeros), ranges))
    assert encode_update(update, compressed=True) == encode_update(update)


def compressed_file(smaller: bytes) -> bytes:
    return encode({"zlib": np.frombuffer(smaller, np.uint8)}, {"kind": "compressed"})


def test_a_small_file_cannot_fill_the_memory():
    bomb = compressed_file(zlib.compress(bytes(50_000_000)))
    tracemalloc.start()
    with pytest.raises(CorruptArtifact, match="do not end where they should"):
        decode_update(bomb)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda smaller: smaller[:-5], "do not end"),
        (lambda smaller: smaller + b"more", "do not end"),
        (lambda smaller: b"?" + smaller[1:], "are damaged"),
        (lambda smaller: b"", "do not end"),
        (lambda smaller: zlib.compress(b"no safetensors file"), "is not a fedrec safetensors file"),
        (lambda smaller: zlib.compress(compressed_file(smaller)), "holds a 'compressed'"),
    ],
)
def test_damaged_compressed_updates_are_refused(change, fault):
    smaller = zlib.compress(encode_update(compressible()))
    with pytest.raises(CorruptArtifact, match=fault):
        decode_update(compressed_file(change(smaller)))


def test_a_compressed_file_has_nothing_else():
    with pytest.raises(CorruptArtifact, match="lacks a part"):
        decode_update(encode({"other": np.zeros(3, np.uint8)}, {"kind": "compressed"}))


def test_a_compressed_update_holds_no_more_than_its_reader_expects():
    plain, small = (encode_update(compressible(), compressed=each) for each in (False, True))
    assert decode_update(small, "The update", len(plain)).client_id == "ash"
    with pytest.raises(CorruptArtifact, match="do not end where they should"):
        decode_update(small, "The update", len(plain) - 1)


@pytest.mark.parametrize("round_", ["NaN", "1e400", "-1", "1.5", '"1"', "null"])
def test_a_model_has_a_round(round_):
    model = GlobalModel(7, "cat", ItemArrays(np.zeros((2, 1), np.float32), *[np.zeros(2, np.float32)] * 3))
    header = json.dumps({"kind": "global_model", "round": 7, "catalog_digest": "cat"})
    facts = header.replace("7", round_)
    data = save(dict(model.items.named()), metadata={"fedrec": facts})
    with pytest.raises(CorruptArtifact, match="round"):
        decode_model(data)
