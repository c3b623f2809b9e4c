"""A bundle: a model in files that the serving process maps into memory.

A bundle never changes. `bundle.json` contains the SHA-256 of every file in it, and the pointer contains that
of `bundle.json`, so that every byte is verified.
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import CorruptArtifact, InvalidInput
from models.kernel.json_values import read_json
from models.recommenders.items.titles import folded, shortened
from models.recommenders.scoring.recommender import Recommender
from models.recommenders.scoring.scorer import Scorer
from models.recommenders.scoring.scorers import scorer_of_kind
from tasks.bundles.item_index import build_index, is_worth_an_index, open_index, write_index
from tasks.bundles.pointer import MANIFEST
from tasks.local.checksums import sha256_of
from tasks.local.folders import build_folder
from tasks.local.packed_strings import PackedStrings, open_strings, write_strings
from tasks.local.plain_name import is_plain_name

FORMAT = 1
_MANIFEST_KEYS = frozenset({"format", "family", "facts", "golden", "index", "files"})
_LABEL_ARRAYS = ("item_starts", "item_labels", "label_starts", "label_items")
_GOLDEN_K = 10
# Another processor may add in another order. A wrong model differs by far more.
_GOLDEN_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Labels:
    """Maps items to labels and labels to items, as compressed sparse rows.

    Attributes:
        names: such as "genres:Comedy", sorted.
        item_starts, item_labels: the labels of item i are item_labels[item_starts[i] : item_starts[i + 1]].
        label_starts, label_items: the same for the rows of a label.
    """

    names: Sequence[str]
    item_starts: npt.NDArray[np.int64]
    item_labels: npt.NDArray[np.int32]
    label_starts: npt.NDArray[np.int64]
    label_items: npt.NDArray[np.int32]

    @classmethod
    def of(cls, items: int, rows_of: Mapping[str, npt.NDArray[np.integer]]) -> Labels:
        """Return the labels, given label -> sorted rows of the items that have it."""
        names = sorted(rows_of)
        lengths = [len(rows_of[name]) for name in names]
        label_items = np.concatenate([np.empty(0, np.int32), *(rows_of[name] for name in names)])
        labels = np.repeat(np.arange(len(names), dtype=np.int32), lengths)
        order = np.argsort(label_items, kind="stable")
        counts = np.bincount(label_items.astype(np.int64), minlength=items)
        return cls(
            names=names,
            item_starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            item_labels=labels[order],
            label_starts=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64),
            label_items=label_items.astype(np.int32),
        )

    def of_item(self, row: int) -> list[str]:
        """Return the names of an item's labels."""
        found = self.item_labels[self.item_starts[row] : self.item_starts[row + 1]]
        return [self.names[label] for label in found.tolist()]

    def having_any(self, labels: Sequence[int]) -> npt.NDArray[np.bool_]:
        """Return (items,): whether an item has any of these labels."""
        found = np.zeros(len(self.item_starts) - 1, dtype=np.bool_)
        for label in labels:
            found[self.label_items[self.label_starts[label] : self.label_starts[label + 1]]] = True
        return found


@dataclass(frozen=True)
class Bundle:
    """An opened bundle, which can recommend.

    Attributes:
        facts: facts about the model: model_name, version, round, sha256, job_id, privacy and others.
        recommender: the model, over mapped arrays.
        labels: the labels of its items.
        search: `searchable` of each title.
        index: facts about the recommender's index, as `FaissIndex` has them; None without one.
    """

    facts: Mapping[str, Any]
    recommender: Recommender
    labels: Labels
    search: PackedStrings
    index: Mapping[str, float] | None = None


def write_bundle(
    target: Path,
    facts: Mapping[str, Any],
    scorer: Scorer,
    item_ids: Sequence[str],
    titles: Sequence[str],
    labels: Labels,
    *,
    may_index: bool = True,
) -> str:
    """Write a bundle of this model atomically, and return the SHA-256 of its manifest.

    Args:
        target: folder to create.
        facts: as `Bundle` has them.
        scorer: the model.
        item_ids, titles: in row order.
        labels: the labels of the items.
        may_index: whether a large model gets an index.

    Raises:
        InvalidInput: the ids are not unique, or not one for each item; the name of a part of the scorer is
            reserved; or the folder cannot be created.
    """
    if len(set(item_ids)) != len(scorer):
        raise InvalidInput(f"A bundle of {len(scorer)} items needs one unique id for each of them.")
    recommender = Recommender(scorer, item_ids, titles)
    golden = _golden_answers(recommender)
    parts = scorer.parts()
    own = {name: getattr(labels, name) for name in _LABEL_ARRAYS}
    taken = sorted((own.keys() & parts.arrays) | (_MANIFEST_KEYS & parts.settings.keys()))
    if taken:
        raise InvalidInput(f"The scorer {type(scorer).__name__} has parts with reserved names: {taken}.")
    arrays = {**parts.arrays, **own}
    index = build_index(recommender) if may_index and is_worth_an_index(scorer) else None
    with build_folder(target) as folder:
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)
        write_strings(folder, "item_ids", item_ids)
        write_strings(folder, "titles", titles)
        write_strings(folder, "search", [searchable(title) for title in titles])
        write_strings(folder, "labels", labels.names)
        if index is not None:
            write_index(folder, index)
        manifest = {
            "format": FORMAT,
            "family": scorer.KIND,
            **parts.settings,
            "facts": dict(facts),
            "golden": golden,
            "index": dict(index.facts) if index else None,
            "files": {path.name: sha256_of(path) for path in sorted(folder.iterdir())},
        }
        data = json.dumps(manifest, indent=1, sort_keys=True, allow_nan=False).encode()
        (folder / MANIFEST).write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def searchable(title: str) -> str:
    """Return a title for searching: folded, and also without its year and with its article in front.

    The text begins with a line break and has no other, so that a search can match the beginning of a title.
    """
    return f"\n{shortened(title)} | {folded(title)}"


def open_bundle(folder: Path, manifest_sha256: str) -> Bundle:
    """Open the bundle in a folder: verify every byte, map its arrays, and repeat its golden answers.

    Raises:
        CorruptArtifact: a file is missing or changed, an array has another shape or is not finite, or the
            model scores differently than when the bundle was written.
    """
    manifest = _manifest(folder, manifest_sha256)
    try:
        for name, promised in manifest["files"].items():
            _require_plain_file(folder, name)
            actual = sha256_of(folder / name)
            if actual != promised:
                raise CorruptArtifact(f"{folder / name} has SHA-256 {actual}, expected {promised}.")
        bundle = _opened(folder, manifest)
    except (OSError, AttributeError, KeyError, TypeError, ValueError, InvalidInput) as error:
        raise CorruptArtifact(f"Bundle {folder} cannot be opened: {error!r}.") from error
    # By a pass over all items, because an index may miss some.
    _require_golden(replace(bundle.recommender, index=None), manifest["golden"], folder)
    return bundle


def _manifest(folder: Path, promised: str) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        _require_plain_file(folder, MANIFEST)
        data = path.read_bytes()
    except OSError as error:
        raise CorruptArtifact(f"{path} cannot be read: {error.strerror}.") from error
    actual = hashlib.sha256(data).hexdigest()
    if actual != promised:
        raise CorruptArtifact(f"{path} has SHA-256 {actual}, expected {promised}.")
    try:
        manifest = read_json(data)
    except ValueError as error:
        raise CorruptArtifact(f"{path} is not JSON: {error}.") from error
    if not isinstance(manifest, dict):
        raise CorruptArtifact(f"{path} is not a JSON object.")
    if manifest.get("format") != FORMAT:
        raise CorruptArtifact(
            f"{path} has format {manifest.get('format')}, but this version serves format {FORMAT}.",
            next_step="Serve it with the version of fedrec that published it.",
        )
    return manifest


def _require_plain_file(folder: Path, name: str) -> None:
    """Raise `CorruptArtifact` unless the name is that of a file in the folder itself.

    A bundle comes from another party. Its manifest could otherwise tell the SHA-256 of any file here.
    """
    path = folder / name
    if not is_plain_name(name):
        raise CorruptArtifact(f"The manifest of bundle {folder} names {name!r}, which is no plain name.")
    # A link is not followed.
    if not stat.S_ISREG(path.lstat().st_mode):
        raise CorruptArtifact(f"{path} is not a regular file.")


def _opened(folder: Path, manifest: Mapping[str, Any]) -> Bundle:
    ids, titles, search, names = (
        open_strings(folder, name) for name in ("item_ids", "titles", "search", "labels")
    )
    dims = int(manifest["facts"]["dims"])
    try:
        kind = scorer_of_kind(manifest["family"])
    except ValueError as error:
        raise CorruptArtifact(
            f"The bundle cannot be served by this version: {error}.",
            next_step="Serve it with the version of fedrec that published it, or install the package of the "
            "scorer.",
        ) from error
    scorer = kind.of_parts(manifest, len(ids), dims, lambda name, shape: _array(folder, name, shape))
    facts = manifest.get("index")
    index = open_index(folder, facts, scorer) if facts else None
    return Bundle(
        facts=manifest["facts"],
        recommender=Recommender(scorer, ids, titles, index),
        labels=_labels(folder, len(ids), names),
        search=search,
        index=facts if index else None,
    )


def _labels(folder: Path, items: int, names: PackedStrings) -> Labels:
    label_starts = _array(folder, "label_starts", (len(names) + 1,))
    item_starts = _array(folder, "item_starts", (items + 1,))
    pairs = int(item_starts[-1])
    return Labels(
        names=list(names),
        item_starts=item_starts,
        item_labels=_array(folder, "item_labels", (pairs,)),
        label_starts=label_starts,
        label_items=_array(folder, "label_items", (pairs,)),
    )


def _array(folder: Path, name: str, shape: tuple[int, ...] | None) -> npt.NDArray[Any]:
    # A plain array over the mapping: numpy's own class for it makes every operation slower.
    array = np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False))
    if shape is not None and array.shape != shape:
        raise CorruptArtifact(f"{folder / name}.npy has shape {array.shape}, expected {shape}.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise CorruptArtifact(f"{folder / name}.npy has values that are not finite.")
    return array


def _golden_histories(items: int) -> list[list[int]]:
    return [[], [0], sorted({0, items // 2})]


def _golden_answers(recommender: Recommender) -> list[dict[str, Any]]:
    return [
        {
            "history": history,
            "answer": [
                {"item_id": one.item_id, "score": one.score}
                for one in recommender.recommend(history, _GOLDEN_K)
            ],
        }
        for history in _golden_histories(len(recommender.item_ids))
    ]


def _require_golden(recommender: Recommender, golden: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Raise `CorruptArtifact` unless the recommender's best scores equal those of the publisher.

    Scores are compared, not items, because another processor may order two items of equal scores differently.
    """
    for question in golden:
        now = [one.score for one in recommender.recommend(question["history"], _GOLDEN_K)]
        then = [one["score"] for one in question["answer"]]
        if len(now) != len(then) or not np.allclose(
            now, then, rtol=_GOLDEN_TOLERANCE, atol=_GOLDEN_TOLERANCE
        ):
            raise CorruptArtifact(
                f"Bundle {folder} scores {now} for the history {question['history']}, expected {then}.",
                history=question["history"],
            )
