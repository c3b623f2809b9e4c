"""The index of a bundle with many items, which finds the best items without a pass over all of them.

faiss (Douze et al. 2024) keeps the items' points in lists around centroids. A query reads the lists whose
centroids suit it best. How many it must read depends on the model, so the index is tried with histories made
from the model itself until it finds what a pass over all items finds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import CorruptArtifact
from models.kernel.arrays import FloatArray
from models.recommenders.scoring.fold_in import top_k
from models.recommenders.scoring.recommender import Recommender
from models.recommenders.scoring.scorer import Scorer

FILE = "items.faiss"
# Below this number of values, a pass over all items takes about a millisecond.
_WORTH_IT = 8_000_000
# Share of the best items that the index must find for the histories that it is tried with.
_RECALL = 0.995
_K = 10
# Numbers of histories to choose the number of lists with, and of others to measure the recall with.
_HISTORIES = 100
_HISTORY = 10
# The items of a history are drawn from this number of best items for each of two first ones.
_LIKED = 100
_FEWEST_READ = 8
# A query that reads a larger share of the lists takes about as long as a pass over all items.
_MOST_READ = 1 / 8
# There are this number of lists for each root of the number of items.
_LISTS = 3
_POINTS_PER_LIST = 40
_TURNS = 10
_SEED = 1


@dataclass(frozen=True)
class FaissIndex:
    """Finds items by faiss' inverted lists. The points are kept whole.

    A point lies in the list of the nearest centroid, but a query reads the lists of the centroids whose
    products with it are the largest. faiss has one measure for both. With the product for both, a query has
    to read up to four times as many lists, because long centroids gather points from everywhere.

    Attributes:
        lists: faiss' index.
        centroids: (lists, n).
        facts: lists, how many of them a query reads, and recall_at_10 as measured; JSON values.
    """

    lists: Any
    centroids: FloatArray
    facts: Mapping[str, float]

    def nearest(self, point: FloatArray, count: int) -> npt.NDArray[np.int64]:
        """Return rows of at most `count` items, ascending, each once, as `ItemIndex.nearest` says."""
        products = self.centroids @ point
        read = int(self.facts["lists_read"])
        best = np.argpartition(-products, read - 1)[:read]
        _, (found,) = self.lists.search_preassigned(
            point[np.newaxis], count, best[np.newaxis], products[np.newaxis, best]
        )
        # faiss fills up with -1 where the lists hold fewer.
        return np.sort(found[found >= 0])


def faiss_or_none() -> Any | None:
    """Return faiss; None if the extra `ann` is not installed."""
    with contextlib.suppress(ImportError):
        import faiss

        return faiss
    return None


def is_worth_an_index(scorer: Scorer) -> bool:
    """Return whether a pass over all items takes long, and an index can replace it."""
    points = scorer.points
    return points is not None and points.size > _WORTH_IT


def build_index(recommender: Recommender) -> FaissIndex | None:
    """Return an index of a model's items; None if it misses too many of the best ones, or without faiss.

    Equal models get equal indices, whatever the number of threads.

    Args:
        recommender: a model with points, without an index.
    """
    faiss = faiss_or_none()
    if faiss is None:
        return None
    points = np.ascontiguousarray(recommender.scorer.points, dtype=np.float32)
    with _one_thread(faiss):
        lists = _lists_of(faiss, points)
        del points
        tried, others = (list(_histories(recommender, seed)) for seed in (_SEED, _SEED + 1))
        wanted = [_best(recommender, history) for history in tried]
        read = _FEWEST_READ
        while read <= _MOST_READ * lists.nlist:
            index = _reading(lists, {"lists": lists.nlist, "lists_read": read})
            indexed = replace(recommender, index=index)
            if _recall(indexed, tried, wanted) >= _RECALL:
                recall = _recall(indexed, others, [_best(recommender, history) for history in others])
                return replace(index, facts={**index.facts, "recall_at_10": round(recall, 4)})
            read += read // 2
    return None


def write_index(folder: Path, index: FaissIndex) -> None:
    """Write an index into the folder of a bundle."""
    faiss_or_none().write_index(index.lists, str(folder / FILE))  # type: ignore[union-attr]  # it made the index


def open_index(folder: Path, facts: Mapping[str, float], scorer: Scorer) -> FaissIndex | None:
    """Return the index of a bundle, over its mapped file; None if faiss is missing.

    Raises:
        CorruptArtifact: the file is no index of this model.
    """
    faiss = faiss_or_none()
    if faiss is None:
        return None
    try:
        lists = faiss.read_index(str(folder / FILE), faiss.IO_FLAG_MMAP)
        index = _reading(lists, facts)
    except (RuntimeError, AttributeError) as error:
        raise CorruptArtifact(f"{folder / FILE} is no index: {error}.") from error
    if lists.ntotal != len(scorer):
        raise CorruptArtifact(f"{folder / FILE} has {lists.ntotal} items, expected {len(scorer)}.")
    return index


def _reading(lists: Any, facts: Mapping[str, float]) -> FaissIndex:
    """Return the index that reads the number of lists in its facts for a query."""
    lists.nprobe = int(facts["lists_read"])
    return FaissIndex(lists, lists.quantizer.reconstruct_n(0, lists.nlist), facts)


def _lists_of(faiss: Any, points: FloatArray) -> Any:
    """Return faiss' lists of these points (items, n), around centroids by k-means."""
    items, width = points.shape
    means = faiss.Kmeans(
        width,
        int(_LISTS * np.sqrt(items)),
        niter=_TURNS,
        seed=_SEED,
        max_points_per_centroid=_POINTS_PER_LIST,
    )
    means.train(points)
    nearest = faiss.IndexFlatL2(width)
    nearest.add(means.centroids)
    lists = faiss.IndexIVFFlat(nearest, width, means.k, faiss.METRIC_INNER_PRODUCT)
    lists.is_trained = True
    lists.add(points)
    return lists


def _histories(recommender: Recommender, seed: int) -> Iterator[list[int]]:
    """Yield histories of items that the model would recommend together."""
    random = np.random.default_rng(seed)
    for _ in range(_HISTORIES):
        firsts = random.choice(len(recommender.item_ids), 2, replace=False)
        liked = np.unique([top_k(recommender.scores([first]), _LIKED) for first in firsts.tolist()])
        yield random.choice(liked, min(_HISTORY, len(liked)), replace=False).tolist()


def _best(recommender: Recommender, history: Sequence[int]) -> set[str]:
    return {each.item_id for each in recommender.recommend(history, _K)}


def _recall(recommender: Recommender, histories: Sequence[list[int]], wanted: Sequence[set[str]]) -> float:
    """Return the mean share of the wanted items that are recommended for each history."""
    found = [len(_best(recommender, each) & best) for each, best in zip(histories, wanted, strict=True)]
    return float(np.mean(found)) / _K


@contextlib.contextmanager
def _one_thread(faiss: Any) -> Iterator[None]:
    """Let faiss use one thread inside the block: sums of several threads depend on their number."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
