"""Computes the same rankings' metrics with other libraries: the table of docs/quality.md and of its test.

    python benchmarks/metric_libraries.py

Each library is installed in a temporary environment, as several need other versions of numpy than fedrec.
The figures go to tests/models/evaluation/metric_libraries.json, where a test compares them with fedrec's own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

TABLE = Path(__file__).parents[1] / "tests" / "models" / "evaluation" / "metric_libraries.json"
ITEMS = 30
# User -> the places of the held-out items in the user's ranking of all items, 0 for the first.
PLACES = {
    "few": [0, 2, 29],
    "one": [11],
    "more than ten": [0, 1, 3, 4, 5, 8, 9, 12, 15, 20, 21, 25],
    "none among twenty": [24, 27],
}
NDCG_AT, RECALL_AT = 10, 20
# Of one user: the places of the held-out items -> metric -> value.
Figures = dict[str, float]


def ranx(places: list[int]) -> Figures:
    """Return ranx's figures."""
    from ranx import Qrels, Run, evaluate

    qrels = Qrels({"u": {f"i{place:02}": 1 for place in places}})
    run = Run({"u": {f"i{place:02}": float(ITEMS - place) for place in range(ITEMS)}})
    names = {"ndcg@10": f"ndcg@{NDCG_AT}", "recall@20": f"recall@{RECALL_AT}", "map": "map"}
    found = evaluate(qrels, run, list(names.values()))
    return {name: float(found[theirs]) for name, theirs in names.items()}


def ir_measures(places: list[int]) -> Figures:
    """Return the figures of ir-measures, which are trec_eval's."""
    import ir_measures

    qrels = [ir_measures.Qrel("u", f"i{place:02}", 1) for place in places]
    run = [ir_measures.ScoredDoc("u", f"i{place:02}", float(ITEMS - place)) for place in range(ITEMS)]
    measures = {
        "ndcg@10": ir_measures.nDCG @ NDCG_AT,
        "recall@20": ir_measures.R @ RECALL_AT,
        "map": ir_measures.AP,
    }
    found = ir_measures.calc_aggregate(list(measures.values()), qrels, run)
    return {name: float(found[measure]) for name, measure in measures.items()}


def rectools(places: list[int]) -> Figures:
    """Return RecTools' figures, by default and with `divide_by_achievable`."""
    import pandas as pd
    from rectools import Columns
    from rectools.metrics import MAP, NDCG, Recall

    reco = pd.DataFrame({Columns.User: 1, Columns.Item: range(ITEMS), Columns.Rank: range(1, ITEMS + 1)})
    held_out = pd.DataFrame({Columns.User: 1, Columns.Item: places})
    metrics = {
        "ndcg@10": NDCG(k=NDCG_AT),
        "ndcg@10, divide_by_achievable": NDCG(k=NDCG_AT, divide_by_achievable=True),
        "recall@20": Recall(k=RECALL_AT),
        "map": MAP(k=ITEMS),
    }
    return {name: float(metric.calc(reco, held_out)) for name, metric in metrics.items()}


def implicit(places: list[int]) -> Figures:
    """Return implicit's figures; it has no recall, and its "precision" is over min(k, held-out items)."""
    import numpy as np
    import scipy.sparse as sp
    from implicit.evaluation import ranking_metrics_at_k

    class Ranked:
        """A model that recommends the items in the order of their numbers."""

        def recommend(self, users: Any, used: Any, N: int) -> tuple[Any, Any]:  # noqa: N803 - its interface
            ids = np.tile(np.arange(N, dtype=np.int32), (len(users), 1))
            return ids, np.zeros(ids.shape, dtype=np.float32)

    used = sp.csr_matrix((1, ITEMS), dtype=np.float32)
    held_out = sp.csr_matrix((np.ones(len(places)), ([0] * len(places), places)), shape=(1, ITEMS))

    def at(k: int) -> dict[str, float]:
        found: dict[str, float] = ranking_metrics_at_k(Ranked(), used, held_out, K=k, show_progress=False)
        return found

    return {
        "ndcg@10": float(at(NDCG_AT)["ndcg"]),
        "precision@20": float(at(RECALL_AT)["precision"]),
        "map@10": float(at(NDCG_AT)["map"]),
    }


LIBRARIES: dict[str, tuple[Callable[[list[int]], Figures], str]] = {
    "ranx": (ranx, "ranx==0.3.21"),
    "ir-measures": (ir_measures, "ir-measures==0.4.3"),
    "RecTools": (rectools, "rectools==0.19.0"),
    "implicit": (implicit, "implicit==0.7.3"),
}


def main() -> None:
    """Write the table, or print one library's figures if its name is given."""
    if sys.argv[1:]:
        figures, _ = LIBRARIES[sys.argv[1]]
        print(json.dumps({user: figures(places) for user, places in PLACES.items()}))
        return
    found = {name: _in_its_own_environment(name) for name in LIBRARIES}
    versions = {name: package.rpartition("==")[2] for name, (_, package) in LIBRARIES.items()}
    table = {"items": ITEMS, "places": PLACES, "versions": versions, "figures": found}
    TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    print(f"The figures are in {TABLE}")


def _in_its_own_environment(name: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = f"{folder}/bin/python"
        _, package = LIBRARIES[name]
        subprocess.run([python, "-m", "pip", "install", "--quiet", package], check=True)
        done = subprocess.run([python, __file__, name], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
