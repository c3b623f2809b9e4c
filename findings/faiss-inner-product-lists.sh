#!/bin/sh
# faiss' inverted lists for the inner product are built by the inner product too, and then find less.
#
# One would guess: METRIC_INNER_PRODUCT says how a query is answered; the points are put into lists of points that
#   lie close together.
# What happens: k-means and the assignment of points use the product as well. A long centroid has the largest product
#   with points from everywhere, so its list gathers them. With lists of the nearest centroid (L2), of which a query
#   reads those with the largest products, the same share of the lists finds clearly more of the best items.
# Whom it hurts: who answers recommendations (maximum inner product) by IndexIVFFlat: it needs up to four times as
#   many lists, and time, for the same recall. search_preassigned lets a caller choose the lists.
# Versions: faiss-cpu 1.15.1, numpy 2.4.0.
# Source: faiss.IndexIVFFlat with METRIC_INNER_PRODUCT over IndexFlatIP, faiss.Kmeans, search_preassigned.
#
# It needs python3 and a package index. Exit 0: as described; 1: it has changed.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check faiss-cpu==1.15.1 numpy==2.4.0

cat > "$folder/lists.py" <<'PY'
import sys

import faiss
import numpy as np

ITEMS, DIMS, LISTS, K = 60_000, 32, 700, 10
print("Python", sys.version.split()[0], "faiss", faiss.__version__, "numpy", np.__version__)
random = np.random.default_rng(1)
fall = (1 + np.arange(DIMS, dtype=np.float32)) ** -0.45
themes = random.standard_normal((300, DIMS), dtype=np.float32) * fall
points = themes[random.integers(0, 300, ITEMS)] + random.standard_normal((ITEMS, DIMS), dtype=np.float32) * fall
queries = points[random.choice(ITEMS, 200)] + 0.3 * random.standard_normal((200, DIMS), dtype=np.float32)
exact = np.argsort(-(queries @ points.T), axis=1)[:, :K]

product = faiss.METRIC_INNER_PRODUCT
one = faiss.IndexIVFFlat(faiss.IndexFlatIP(DIMS), DIMS, LISTS, product)
one.cp.seed = 1
one.train(points)
one.add(points)

means = faiss.Kmeans(DIMS, LISTS, seed=1)
means.train(points)
nearest = faiss.IndexFlatL2(DIMS)
nearest.add(means.centroids)
other = faiss.IndexIVFFlat(nearest, DIMS, LISTS, product)
other.is_trained = True
other.add(points)


def recall(found):
    return float(np.mean([len(set(a) & set(b)) / K for a, b in zip(found, exact)]))


for read in (8, 16, 32):
    one.nprobe = other.nprobe = read
    by_product = recall(one.search(queries, K)[1])
    products = queries @ means.centroids.T
    best = np.argsort(-products, axis=1)[:, :read]
    chosen = np.take_along_axis(products, best, axis=1)
    by_distance = recall(other.search_preassigned(queries, K, best, chosen)[1])
    print(f"{read} of {LISTS} lists: by product {by_product:.3f}, nearest centroid {by_distance:.3f}")
    assert by_distance > by_product + 0.05, "Changed."
PY

"$folder/venv/bin/python" "$folder/lists.py"
echo "As described: lists by the product find less."
