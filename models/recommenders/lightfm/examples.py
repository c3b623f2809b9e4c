"""The examples of a pass for the losses whose negatives LightFM does not draw from the whole catalogue."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from models.recommenders.base.training_set import IntArray, TrainingSet

# Users, items and labels, (n,) each.
Examples = tuple[IntArray, IntArray, npt.NDArray[np.float32]]
# Of one call of BPR, unless the catalogue alone has more: 80 MB.
_MOST_EXAMPLES = 1 << 22
# BPR takes a positive after as many vain draws as there are examples. If so many of these are negatives, the
# probability of that is below exp(-32).
_NEGATIVES = 32


def among_the_catalogue(data: TrainingSet, chosen: npt.NDArray[np.int64]) -> Iterator[Examples]:
    """Yield BPR's examples in parts: the chosen positives, in order, with label 1, and further ones with 0.

    LightFM's BPR draws a negative from the items of all examples, and makes no step for an example of label
    0. These complete the items, so that all occur equally often. A negative is thus uniform among the items
    that are not a positive of its user (Rendle et al. 2009, section 4.3).
    """
    n_items = data.shape[1]
    unused = n_items - np.diff(data.positives.indptr)
    chosen = chosen[unused[data.users[chosen]] > 0]  # a user of all items has no negative
    most = np.bincount(data.items[chosen], minlength=1).max()
    parts = -(-int(most) * n_items // max(_MOST_EXAMPLES, n_items))
    for part in np.array_split(chosen, parts) if parts else ():
        counts = np.bincount(data.items[part], minlength=n_items)
        copies = max(counts.max(), -(-_NEGATIVES // unused[data.users[part]].min()))
        further = np.repeat(np.arange(n_items, dtype=np.int32), copies - counts)
        nobody = np.zeros(len(further), dtype=np.int32)
        labels = np.concatenate([np.ones(len(part), np.float32), np.zeros(len(further), np.float32)])
        yield (
            np.concatenate([data.users[part], nobody]),
            np.concatenate([data.items[part], further]),
            labels,
        )


def with_negatives(
    data: TrainingSet,
    chosen: npt.NDArray[np.int64],
    random: np.random.Generator | np.random.RandomState,
) -> sp.coo_matrix[np.float32]:
    """Return the chosen positives as +1, and one uniform draw of an item for each as -1, for the same users.

    The logistic loss learns nothing from positives alone. Draws that are a training positive are dropped.
    """
    rows, columns = data.users[chosen], data.items[chosen]
    drawn = np.floor(random.random(len(rows)) * data.shape[1]).astype(np.int32)
    free = ~data.contains(rows, drawn)
    pairs = np.unique(rows[free].astype(np.int64) * data.shape[1] + drawn[free])
    negative_rows, negative_columns = np.divmod(pairs, data.shape[1])
    labels = np.concatenate([np.ones(len(rows)), -np.ones(len(pairs))]).astype(np.float32)
    return sp.coo_matrix(
        (
            labels,
            (
                np.concatenate([rows, negative_rows.astype(np.int32)]),
                np.concatenate([columns, negative_columns.astype(np.int32)]),
            ),
        ),
        shape=data.shape,
    )
