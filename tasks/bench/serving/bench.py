"""The serving benchmark: synthetic models under load, also behind `mlflow models serve`."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from models.errors import FedrecError
from models.federation.model import GlobalModel, ItemArrays
from models.kernel.catalog import ItemCatalog
from models.recommenders.items.item_weights import ItemWeights
from models.recommenders.scoring.additive_scorers import WeightsScorer
from models.recommenders.scoring.fold_in import ItemSide
from models.recommenders.scoring.scorer import Factors, Scorer
from tasks.bench.serving.wrk import Load, put_under_load, require_wrk
from tasks.bundles.bundle import Labels, write_bundle
from tasks.bundles.pointer import Pointer, Target, write_pointer
from tasks.exchange.codec import encode_model
from tasks.tracking.mlflow_model import model_files

DIMS = 64
_HISTORY = 10
_QUESTIONS = 500
_WARM_UP_S = 1.0
_START_S = 180.0


def bench(
    folder: Path,
    small: int,
    large: int,
    weights: int,
    seconds: float,
    beside_mlflow: bool,
    announce: Callable[[str], None],
) -> dict[str, Any]:
    """Measure both sizes of LightFM and a blend's weights, with one worker each, and MLflow's own server.

    Args:
        folder: an empty folder for bundles, models and logs.
        small, large: numbers of items of LightFM's models; 0 skips the large one.
        weights: number of items of a blend's two weight matrices; 0 skips the blend.
        seconds: length of each load.
        beside_mlflow: whether to measure MLflow's server with the small model.
        announce: is called with a line of text before each step.

    Raises:
        NotFound: wrk is not installed.
        FedrecError: a server did not start, or a request failed.
    """
    require_wrk()
    result: dict[str, Any] = {"dims": DIMS, "history": _HISTORY, "k": 10, "seconds": seconds}
    for name, items in (("small", small), ("large", large)):
        if items:
            announce(f"{items:,} items x {DIMS}")
            result[name] = _served(folder / name, _factors(items), DIMS, seconds)
    if weights:
        announce(f"a blend of {weights:,} items")
        result["weights"] = _served(folder / "weights", _blend(weights), 2 * weights, seconds)
    if beside_mlflow:
        announce("the same model behind mlflow models serve")
        mlflow = _mlflow(folder / "mlflow", small, seconds)
        result["mlflow"] = mlflow
        ratio = mlflow["one_connection"]["p50_ms"] / result["small"]["one_connection"]["p50_ms"]
        result["speedup_over_mlflow_serve_p50"] = round(ratio, 2)
    return result


def _served(folder: Path, scorer: Scorer, dims: int, seconds: float) -> dict[str, Any]:
    folder.mkdir(parents=True)
    items = len(scorer)
    facts = {
        "model_name": "bench",
        "version": 1,
        "round": 1,
        "sha256": "0" * 64,
        "job_id": "bench",
        "committed_at": "",
        "epsilon": None,
        "items": items,
        "dims": dims,
    }
    even = np.arange(0, items, 2)
    labels = Labels.of(items, {"parity:even": even})
    digest = write_bundle(folder / "1-bench", facts, scorer, _ids(items), _titles(items), labels)
    write_pointer(folder, Pointer(Target("1-bench", digest, {})))
    del scorer
    port = _free_port()
    command = ["-m", "serving", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    # The settings of fedrec serve, but without the limit of requests from one address.
    settings = {
        "FEDREC_SERVE_SETTINGS": json.dumps({"folder": str(folder), "model_name": "bench", "rate": 0.0})
    }
    url = f"http://127.0.0.1:{port}"
    with _server([sys.executable, *command], f"{url}/readyz", folder / "log", settings) as ready_s:
        bodies = [_question(rows) for rows in _histories(items)]
        return {
            "items": items,
            "ready_s": round(ready_s, 2),
            **_loads(f"{url}/v1/recommendations", bodies, seconds),
        }


def _mlflow(folder: Path, items: int, seconds: float) -> dict[str, Any]:
    folder.mkdir(parents=True)
    catalog = pd.DataFrame({"item_id": _ids(items), "title": _titles(items)})
    digest = ItemCatalog.of(catalog["item_id"]).digest
    data = encode_model(GlobalModel(round=1, catalog_digest=digest, items=_model(items)))
    files = model_files(catalog) | {
        "model.safetensors": data,
        "round.json": json.dumps({"model_sha256": hashlib.sha256(data).hexdigest()}).encode(),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    port = _free_port()
    # PATH must contain the environment's programs, because MLflow starts uvicorn by name.
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = [str(Path(sys.executable).parent / "mlflow"), "models", "serve", "--model-uri", str(folder)]
    command += ["--env-manager", "local", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with _server(command, f"{url}/ping", folder / "log", {"PATH": path}) as ready_s:
        bodies = [_mlflow_question(rows) for rows in _histories(items)]
        return {"ready_s": round(ready_s, 2), **_loads(f"{url}/invocations", bodies, seconds)}


def _loads(url: str, bodies: Sequence[bytes], seconds: float) -> dict[str, Any]:
    put_under_load(url, bodies, 1, _WARM_UP_S)
    loads: dict[str, Load] = {
        "one_connection": put_under_load(url, bodies, 1, seconds),
        "sixteen_connections": put_under_load(url, bodies, 16, seconds),
    }
    for load in loads.values():
        if load.failed or not load.requests:
            raise FedrecError(f"{load.failed} of {load.requests} requests to {url} failed.")
    return {name: asdict(load) for name, load in loads.items()}


@contextlib.contextmanager
def _server(command: Sequence[str], url: str, log: Path, environ: dict[str, str]) -> Iterator[float]:
    """Start a server, yield the seconds until it answers at `url`, and end it with its child processes."""
    with log.open("wb") as file:
        begun = time.perf_counter()
        server = subprocess.Popen(  # noqa: S603
            command,
            env=os.environ | environ,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
        try:
            while not _answers(url):
                if server.poll() is not None or time.perf_counter() - begun > _START_S:
                    raise FedrecError(f"The server did not start: {log.read_text()[-2000:]}")
                time.sleep(0.01)
            yield time.perf_counter() - begun
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)
            server.wait(60)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:  # noqa: S310  # our own server
            return bool(reply.status == 200)  # noqa: PLR2004
    except (OSError, urllib.error.HTTPError):
        return False


def _model(items: int) -> ItemArrays:
    random = np.random.default_rng(1)
    embeddings = random.standard_normal((items, DIMS), dtype=np.float32) * np.float32(0.3)
    biases = random.standard_normal(items, dtype=np.float32)
    # Not 1, because training changes these sums.
    sums = np.float32(2.0)
    return ItemArrays(embeddings, biases, np.full_like(embeddings, sums), np.full_like(biases, sums))


def _factors(items: int) -> Factors:
    model = _model(items)
    return Factors.of(ItemSide.of(model.embeddings, model.biases))


def _blend(items: int) -> WeightsScorer:
    random = np.random.default_rng(1)
    weights = random.standard_normal((2, items, items), dtype=np.float32)
    popularity = random.standard_normal(items, dtype=np.float32)
    return WeightsScorer.of(ItemWeights(weights, np.array([0.75, 0.7], dtype=np.float32), popularity))


def _ids(items: int) -> list[str]:
    return [str(row) for row in range(items)]


def _titles(items: int) -> list[str]:
    return [f"Film number {row} ({1930 + row % 90})" for row in range(items)]


def _histories(items: int) -> list[list[str]]:
    random = np.random.default_rng(2)
    drawn = random.integers(0, items, (_QUESTIONS, _HISTORY))
    return [[str(row) for row in dict.fromkeys(history)] for history in drawn.tolist()]


def _question(history: Sequence[str]) -> bytes:
    return json.dumps({"history": [{"item_id": item_id} for item_id in history], "k": 10}).encode()


def _mlflow_question(history: Sequence[str]) -> bytes:
    return json.dumps({"dataframe_records": [{"history": history}], "params": {"k": 10}}).encode()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
