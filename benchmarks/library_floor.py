"""Measures what the libraries alone cost in a job, without fedrec: the least that a job with them can cost.

Beside the bare loop's seconds (docs/overhead.md) this shows how near a limit is. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROUNDS, EVALUATED_EVERY = 30, 5
# Prefect tasks of a round of 21 clients: the round, two groups, merge and check; two more of an evaluation.
TASKS, EVALUATION_TASKS = 5, 2


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=943, help="clients whose files are written and read")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {
            "PREFECT_HOME": f"{folder}/prefect",
            "PREFECT_LOGGING_LEVEL": "ERROR",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "GX_ANALYTICS_ENABLED": "false",
            "TQDM_DISABLE": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        rows = [
            (f"Prefect: {ROUNDS} rounds of empty tasks", prefect_tasks()),
            (f"Great Expectations: the two validations of {ROUNDS} rounds", validations()),
            (f"MLflow: metrics and a version of each of {ROUNDS} rounds", tracking(Path(folder))),
            ("matplotlib: import, and four figures as SVG", figures()),
            (
                f"files of {arguments.clients} clients, one round",
                client_files(Path(folder), arguments.clients),
            ),
        ]
    print("| libraries alone | s |\n|---|---:|")
    for name, seconds in rows:
        print(f"| {name} | {seconds:.2f} |")


def timed(do: Callable[[], Any]) -> float:
    """Return the wall seconds of a call."""
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def prefect_tasks() -> float:
    """Return the seconds of the tasks of all rounds, in a flow whose server already runs."""
    from prefect import flow, task
    from prefect.cache_policies import NO_CACHE

    nothing = task(cache_policy=NO_CACHE, persist_result=False)(lambda: None)
    seconds = []

    @flow
    def job() -> None:
        nothing()
        began = time.perf_counter()
        for round_ in range(1, ROUNDS + 1):
            for future in [nothing.submit() for _ in range(2)]:
                future.wait()
            for _ in range(TASKS - 2):
                nothing()
            if not round_ % EVALUATED_EVERY:
                for future in [nothing.submit() for _ in range(EVALUATION_TASKS)]:
                    future.wait()
        seconds.append(time.perf_counter() - began)

    job()
    return seconds[0]


def validations() -> float:
    """Return the seconds of two validations a round, of 21 and 1,682 rows, by the cheapest expectations."""
    import great_expectations as gx
    import pandas as pd
    from great_expectations import ExpectationSuite
    from great_expectations.expectations import ExpectColumnMaxToBeBetween

    context = gx.get_context(mode="ephemeral")
    definition = (
        context.data_sources.add_pandas("p")
        .add_dataframe_asset("a")
        .add_batch_definition_whole_dataframe("w")
    )
    generator = np.random.default_rng(1)
    frames = [pd.DataFrame(generator.random((rows, 11)), columns=list("abcdefghijk")) for rows in (21, 1682)]
    suite = ExpectationSuite(
        "s", [ExpectColumnMaxToBeBetween(column=name, min_value=0, max_value=1) for name in "abcdefghijk"]
    )

    def validate() -> None:
        for frame in frames:
            batch = definition.get_batch({"dataframe": frame})
            if not batch.validate(suite, result_format="BOOLEAN_ONLY").success:
                raise SystemExit("A validation failed.")

    validate()
    return timed(lambda: [validate() for _ in range(ROUNDS)])


def tracking(folder: Path) -> float:
    """Return the seconds of a batch of 20 metrics and a model version for each round, in SQLite."""
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    run = client.create_run(client.create_experiment("e"))
    client.create_registered_model("m")

    def track(round_: int) -> None:
        metrics = [Metric(f"m{number}", 1.0, 0, round_) for number in range(20)]
        client.log_batch(run.info.run_id, metrics)
        client.create_model_version("m", f"{folder}/model", run.info.run_id)

    track(0)
    return timed(lambda: [track(round_) for round_ in range(1, ROUNDS + 1)])


def figures() -> float:
    """Return the seconds of four plain figures, with the import."""

    def draw() -> None:
        import io

        import matplotlib

        matplotlib.use("svg")
        from matplotlib.figure import Figure

        for _ in range(4):
            axes = Figure(figsize=(7, 3)).subplots()
            axes.plot(range(ROUNDS), range(ROUNDS))
            axes.set_title("t")
            axes.figure.savefig(io.BytesIO(), format="svg")

    return timed(draw)


def client_files(folder: Path, clients: int) -> float:
    """Return the seconds of what every client's round leaves: its users' state, and an update that is read.

    Each is encoded, hashed and written by safetensors and hashlib. States are files of their own, which the
    next round reads, and updates share one file. The arrays are those of a user with 100 of 1,682 items.
    """
    from safetensors.numpy import load, save

    generator = np.random.default_rng(1)
    state = {name: generator.random(32, dtype=np.float32) for name in ("a", "b")}
    update = {name: generator.random((100, 33), dtype=np.float32) for name in ("a", "b")}
    rows = {"rows": np.arange(100)}
    states = folder / "states"
    states.mkdir()
    for client in range(clients):
        (states / str(client)).write_bytes(save(state))

    def work() -> None:
        with (folder / "updates").open("wb") as updates:
            for client in range(clients):
                path = states / str(client)
                load(path.read_bytes())
                new = path.with_suffix(".new")
                new.write_bytes(save(state))
                os.replace(new, path)  # noqa: PTH105
                data = save({**update, **rows})
                hashlib.sha256(data).hexdigest()
                updates.write(data)
        size = len(data)
        whole = (folder / "updates").read_bytes()
        for client in range(clients):
            data = whole[client * size : (client + 1) * size]
            hashlib.sha256(data).hexdigest()
            load(data)

    return timed(work)


if __name__ == "__main__":
    main()
