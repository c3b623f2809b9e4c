"""A bundle answers as its model does, and is refused when a byte of it has changed."""

from __future__ import annotations

import hashlib
import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import CorruptArtifact, InvalidInput
from models.recommenders.scoring.recommender import Recommender
from tasks.bundles.bundle import Labels, open_bundle, write_bundle
from tasks.bundles.pointer import MANIFEST
from tasks.local.packed_strings import open_strings, write_strings
from tests.worlds.served import ITEMS, factors, facts, ids, labels, put_bundle, titles


def test_a_bundle_answers_as_its_model(tmp_path):
    target = put_bundle(tmp_path)
    opened = open_bundle(tmp_path / target.bundle, target.manifest_sha256).recommender
    model = Recommender(factors(1), ids(), titles())

    for history in ([], [3], [5, 1, 40]):
        assert opened.recommend(history, 7, reasons=2) == model.recommend(history, 7, reasons=2)
    assert opened.similar(4, 5) == model.similar(4, 5)


def test_labels_are_found_both_ways(tmp_path):
    target = put_bundle(tmp_path)
    found = open_bundle(tmp_path / target.bundle, target.manifest_sha256).labels

    assert found.names == ["parity:even", "parity:odd", "rest:third"]
    assert [found.of_item(row) for row in (0, 1, 2, 3)] == [
        ["parity:even", "rest:third"],
        ["parity:odd"],
        ["parity:even"],
        ["parity:odd", "rest:third"],
    ]
    # Odd rows and multiples of three, counted by hand below 60: 30 + 20 - 10.
    assert found.having_any([1, 2]).sum() == 40


def test_items_may_have_no_labels():
    none = Labels.of(3, {})

    assert none.of_item(2) == []
    assert none.having_any([]).tolist() == [False] * 3


@pytest.mark.parametrize("name", ["embeddings.npy", "titles.texts.npy", "label_items.npy", MANIFEST])
def test_a_changed_byte_is_refused(tmp_path, name):
    target = put_bundle(tmp_path)
    path = tmp_path / target.bundle / name
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)

    with pytest.raises(CorruptArtifact, match=f"{name} has SHA-256"):
        open_bundle(tmp_path / target.bundle, target.manifest_sha256)


@pytest.mark.parametrize("name", ["biases.npy", "item_ids.starts.npy", MANIFEST])
def test_a_missing_file_is_refused(tmp_path, name):
    target = put_bundle(tmp_path)
    (tmp_path / target.bundle / name).unlink()

    with pytest.raises(CorruptArtifact):
        open_bundle(tmp_path / target.bundle, target.manifest_sha256)


def test_values_that_are_not_finite_are_refused(tmp_path):
    broken = factors()
    broken.side.biases[ITEMS - 1] = -np.inf  # never among the best, so no answer shows it
    digest = write_bundle(tmp_path / "b", facts(), broken, ids(), titles(), labels())

    with pytest.raises(CorruptArtifact, match="not finite"):
        open_bundle(tmp_path / "b", digest)


def test_an_expected_answer_that_the_model_does_not_give_is_refused(tmp_path):
    target = put_bundle(tmp_path)
    path = tmp_path / target.bundle / MANIFEST
    manifest = json.loads(path.read_text())
    manifest["golden"][1]["answer"][0]["score"] += 0.5
    path.write_text(json.dumps(manifest))

    with pytest.raises(CorruptArtifact, match=r"history \[0\]"):
        open_bundle(tmp_path / target.bundle, hashlib.sha256(path.read_bytes()).hexdigest())


def changed_manifest(folder, **changes):
    """Change the manifest of a bundle, as another party could, and return its SHA-256."""
    path = folder / MANIFEST
    data = json.dumps({**json.loads(path.read_text()), **changes}).encode()
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("name", ["../secret", "{outside}/secret", ".hidden", "a/b", "", "-x", "x" * 101])
def test_a_manifest_tells_nothing_about_other_files(tmp_path, name):
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    target = put_bundle(tmp_path)
    folder = tmp_path / target.bundle
    digest = changed_manifest(folder, files={name.format(outside=tmp_path): "0" * 64})

    with pytest.raises(CorruptArtifact, match="no plain name") as raised:
        open_bundle(folder, digest)
    assert hashlib.sha256(b"secret").hexdigest() not in str(raised.value)


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
@pytest.mark.parametrize("name", ["biases.npy", MANIFEST])
def test_only_regular_files_are_read(tmp_path, kind, name):
    target = put_bundle(tmp_path)
    path = tmp_path / target.bundle / name
    path.rename(tmp_path / "elsewhere")
    if kind == "link":
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()

    with pytest.raises(CorruptArtifact, match="not a regular file"):
        open_bundle(tmp_path / target.bundle, target.manifest_sha256)


@pytest.mark.parametrize("data", [b"[1]", b"x", b"[" * 100_000, b'{"format": 1, "files": [1]}'])
def test_a_manifest_that_is_none_is_refused(tmp_path, data):
    (tmp_path / MANIFEST).write_bytes(data)

    with pytest.raises(CorruptArtifact):
        open_bundle(tmp_path, hashlib.sha256(data).hexdigest())


def test_ids_must_be_unique(tmp_path):
    with pytest.raises(InvalidInput, match="one unique id"):
        write_bundle(tmp_path / "b", facts(), factors(), ["i0"] * ITEMS, titles(), labels())
    assert not list(tmp_path.iterdir())


@given(strings=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=12))
def test_packed_strings_are_unpacked_unchanged(tmp_path_factory, strings):
    folder = tmp_path_factory.mktemp("strings")
    write_strings(folder, "words", strings)

    packed = open_strings(folder, "words")
    assert list(packed) == strings
    assert [packed[place] for place in range(-len(strings), len(strings))] == strings * 2
    assert packed[1:] == strings[1:]
    with pytest.raises(IndexError):
        packed[len(strings)]


def test_offsets_that_do_not_fit_the_texts_are_refused(tmp_path):
    write_strings(tmp_path, "words", ["ab", "c"])
    np.save(tmp_path / "words.starts.npy", np.array([0, 2, 9]))

    with pytest.raises(CorruptArtifact, match="do not belong together"):
        open_strings(tmp_path, "words")
