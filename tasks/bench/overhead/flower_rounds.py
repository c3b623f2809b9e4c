"""Times rounds of Flower's simulation with clients that return what they get. Flower's Python runs it.

Usage: flower_rounds.py CLIENTS ROUNDS ITEMS DIMS OUT. The file OUT becomes the seconds of the rounds as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation


class TimedFedAvg(FedAvg):  # type: ignore[misc]  # Flower is not installed where types are checked
    """Flower's FedAvg that notes when each round begins."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.began: list[float] = []

    def configure_train(self, *arguments: Any, **named: Any) -> Any:
        """Note the time, and return what FedAvg returns."""
        self.began.append(time.perf_counter())
        return super().configure_train(*arguments, **named)


def main() -> None:
    """Run the simulation, and write the seconds of its rounds."""
    clients, rounds, items, dims = map(int, sys.argv[1:5])
    client_app, server_app = ClientApp(), ServerApp()
    seconds: list[float] = []

    def train(message: Message, context: Context) -> Message:
        metrics = MetricRecord({"num-examples": 1})
        content = RecordDict({"arrays": message.content["arrays"], "metrics": metrics})
        return Message(content=content, reply_to=message)

    def serve(grid: Grid, context: Context) -> None:
        strategy = TimedFedAvg(
            fraction_train=1.0, fraction_evaluate=0.0, min_train_nodes=clients, min_available_nodes=clients
        )
        arrays = [np.zeros((items, dims), dtype=np.float32), np.zeros(items, dtype=np.float32)]
        strategy.start(grid=grid, initial_arrays=ArrayRecord(arrays), num_rounds=rounds, timeout=3600)
        ends = [*strategy.began[1:], time.perf_counter()]
        seconds.extend(end - began for began, end in zip(strategy.began, ends, strict=True))

    client_app.train()(train)
    server_app.main()(serve)
    run_simulation(
        server_app=server_app,
        client_app=client_app,
        num_supernodes=clients,
        backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
    )
    Path(sys.argv[5]).write_text(json.dumps(seconds))


if __name__ == "__main__":
    main()
