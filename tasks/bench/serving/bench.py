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
from models.recommenders.scoring.scorer import Scorer
from tasks.bench.serving.synthetic import DIMS, blend, embeddings_and_biases, factors, histories
from tasks.bench.serving.wrk import Load, put_under_load, require_wrk
from tasks.bundles.bundle import Labels, write_bundle
from tasks.bundles.pointer import Pointer, Target, write_pointer
from tasks.exchange.codec import encode_model
from tasks.tracking.mlflow_model import model_files

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
    model = embeddings_and_biases(small)
    asked = histories(model, _QUESTIONS)
    announce(f"{small:,} items x {DIMS}")
    result["small"], _ = _served(folder / "small", factors(model), DIMS, asked, seconds)
    if large:
        result |= _with_and_without_index(folder, large, seconds, announce)
    if weights:
        announce(f"a blend of {weights:,} items")
        random = np.random.default_rng(2).integers(0, weights, (_QUESTIONS, _HISTORY)).tolist()
        drawn = [[str(row) for row in dict.fromkeys(each)] for each in random]
        result["weights"], _ = _served(folder / "weights", blend(weights), 2 * weights, drawn, seconds)
    if beside_mlflow:
        announce("the same model behind mlflow models serve")
        mlflow = _mlflow(folder / "mlflow", model, asked, seconds)
        result["mlflow"] = mlflow
        ratio = mlflow["one_connection"]["p50_ms"] / result["small"]["one_connection"]["p50_ms"]
        result["speedup_over_mlflow_serve_p50"] = round(ratio, 2)
    return result


def _with_and_without_index(
    folder: Path, items: int, seconds: float, announce: Callable[[str], None]
) -> dict[str, Any]:
    """Measure one large model twice. The recall is over the answers of both servers to the same requests."""
    announce(f"{items:,} items x {DIMS}, each answer by a pass over all items")
    model = embeddings_and_biases(items)
    scorer, asked = factors(model), histories(model, _QUESTIONS)
    del model
    slow, exact = _served(folder / "pass", scorer, DIMS, asked, seconds, may_index=False)
    announce("the same model with an index, after building it")
    fast, answers = _served(folder / "large", scorer, DIMS, asked, seconds)
    recall = np.mean(
        [len(set(one) & set(other)) / len(one) for one, other in zip(exact, answers, strict=True)]
    )
    ratio = slow["one_connection"]["p50_ms"] / fast["one_connection"]["p50_ms"]
    return {
        "large": {**fast, "recall_at_10": round(float(recall), 4)},
        "large_pass": slow,
        "speedup_of_index_p50": round(ratio, 2),
    }


def _served(
    folder: Path,
    scorer: Scorer,
    dims: int,
    asked: Sequence[Sequence[str]],
    seconds: float,
    *,
    may_index: bool = True,
) -> tuple[dict[str, Any], list[list[str]]]:
    """Return the result for one model, and the item ids of its answer to each history."""
    folder.mkdir(parents=True)
    items = len(scorer)
    facts = {
        "model_name": "bench",
        "version": 1,
        "round": 1,
        "sha256": "0" * 64,
        "job_id": "bench",
        "committed_at": "",
        "privacy": None,
        "items": items,
        "dims": dims,
    }
    even = np.arange(0, items, 2)
    labels = Labels.of(items, {"parity:even": even})
    begun = time.perf_counter()
    digest = write_bundle(
        folder / "1-bench", facts, scorer, _ids(items), _titles(items), labels, may_index=may_index
    )
    published_s = time.perf_counter() - begun
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
        bodies = [_question(history) for history in asked]
        result = {
            "items": items,
            "published_s": round(published_s, 2),
            "ready_s": round(ready_s, 2),
            "index": _reply(f"{url}/v1/model")["index"],
            **_loads(f"{url}/v1/recommendations", bodies, seconds),
        }
        answers = [_reply(f"{url}/v1/recommendations", body)["recommendations"] for body in bodies]
    return result, [[each["item_id"] for each in answer] for answer in answers]


def _mlflow(
    folder: Path, model: ItemArrays, asked: Sequence[Sequence[str]], seconds: float
) -> dict[str, Any]:
    folder.mkdir(parents=True)
    items = len(model.biases)
    catalog = pd.DataFrame({"item_id": _ids(items), "title": _titles(items)})
    digest = ItemCatalog.of(catalog["item_id"]).digest
    data = encode_model(GlobalModel(round=1, catalog_digest=digest, items=model))
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
        bodies = [_mlflow_question(history) for history in asked]
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


def _reply(url: str, body: bytes | None = None) -> Any:
    request = urllib.request.Request(url, body, {"content-type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310  # our own server
        return json.loads(reply.read())


def _ids(items: int) -> list[str]:
    return [str(row) for row in range(items)]


def _titles(items: int) -> list[str]:
    return [f"Film number {row} ({1930 + row % 90})" for row in range(items)]


def _question(history: Sequence[str]) -> bytes:
    return json.dumps({"history": [{"item_id": item_id} for item_id in history], "k": 10}).encode()


def _mlflow_question(history: Sequence[str]) -> bytes:
    return json.dumps({"dataframe_records": [{"history": history}], "params": {"k": 10}}).encode()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
