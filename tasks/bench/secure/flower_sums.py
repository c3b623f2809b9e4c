"""Times secure sums by Flower's SecAgg+, all in this process. Flower's Python runs it.

Usage: flower_sums.py CLIENTS VALUES BITS WIDTH SHARES THRESHOLD REPEATS OUT. Each client has VALUES whole
numbers of BITS bits, and shares its seeds among SHARES clients with itself, of which THRESHOLD can open them.
Masks are modulo 2^WIDTH. The file OUT becomes JSON: the seconds of the stages of each sum, and the bytes of
one client's message with its masked vector.
"""

from __future__ import annotations

import copy
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.client import NumPyClient
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp
from flwr.common import FitIns, parameters_to_ndarrays
from flwr.server import LegacyContext
from flwr.server.compat.grid_client_proxy import GridClientProxy
from flwr.server.strategy import FedAvg
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.supercore.task_identity import TaskIdentity

_STAGES = ("setup", "share_keys", "collect_masked_vectors", "unmask")
_SEED = 1


class SummandClient(NumPyClient):  # type: ignore[misc]  # Flower is not installed where types are checked
    """A client that trains nothing and returns its summand."""

    def __init__(self, summand: np.ndarray) -> None:
        self._summand = summand

    def fit(self, parameters: Any, config: Any) -> Any:
        """Return the summand with a weight of one."""
        return [self._summand], 1, {}


class SumStrategy(FedAvg):  # type: ignore[misc]
    """A strategy that selects all clients, and keeps the mean that the workflow unmasked."""

    def __init__(self, proxies: Iterable[GridClientProxy]) -> None:
        super().__init__()
        self._proxies = list(proxies)
        self.means: list[np.ndarray] = []

    def configure_fit(self, server_round: int, parameters: Any, client_manager: Any) -> Any:
        """Return the order to train for every client."""
        return [(proxy, FitIns(parameters, {})) for proxy in self._proxies]

    def aggregate_fit(self, server_round: int, results: Any, failures: Any) -> Any:
        """Keep the mean, which the workflow gives as the result of each client."""
        self.means = parameters_to_ndarrays(results[0][1].parameters)
        return None, {}


class OneProcess:
    """Stands where the workflow expects Flower's grid: calls one client after the other."""

    def __init__(self, app: ClientApp, clients: Iterable[int]) -> None:
        self._app = app
        self._contexts = {client: Context(1, client, {}, RecordDict(), {}) for client in clients}
        self.bytes_sent: list[int] = []

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Return the answers, and note the bytes of the first one."""
        answers = [
            # A client gets a message of its own, as it would from a network: it takes entries out of it.
            self._app(copy.deepcopy(each), self._contexts[each.metadata.dst_node_id])
            for each in messages
        ]
        self.bytes_sent.append(sum(record.count_bytes() for record in answers[0].content.values()))
        return answers


def timed_sum(
    summands: Mapping[int, np.ndarray], bits: int, width: int, shares: int, threshold: int
) -> tuple[dict[str, float], int]:
    """Return the seconds of the stages of one sum, and the bytes of a message with a masked vector."""
    # Flower clips to this range around zero, and makes whole numbers of it in steps of one.
    levels = 2**bits - 1
    clip = levels / 2
    app = ClientApp(
        client_fn=lambda context: SummandClient(summands[context.node_id] - clip).to_client(),
        mods=[secaggplus_mod],
    )
    grid = OneProcess(app, summands)
    strategy = SumStrategy(GridClientProxy(client, grid, 1) for client in summands)
    workflow = SecAggPlusWorkflow(
        shares,
        threshold,
        max_weight=1.0,
        clipping_range=clip,
        quantization_range=levels,
        modulus_range=2**width,
    )
    seconds: dict[str, float] = {}

    def timed(name: str, stage: Callable[..., bool]) -> Callable[..., bool]:
        def run(*arguments: Any) -> bool:
            began = time.perf_counter()
            goes_on = stage(*arguments)
            seconds[name] = time.perf_counter() - began
            return goes_on

        return run

    for name in _STAGES:
        setattr(workflow, f"{name}_stage", timed(name, getattr(workflow, f"{name}_stage")))
    state = RecordDict({"config": ConfigRecord({"current_round": 1}), "parameters": ArrayRecord([])})
    workflow(grid, LegacyContext(Context(1, 0, {}, state, {}), strategy=strategy))
    total = sum(summands.values())
    # The workflow ends without a word if it cannot unmask.
    if not strategy.means or not np.array_equal(np.rint((strategy.means[0] + clip) * len(summands)), total):
        raise SystemExit("A sum by SecAgg+ is not the plain one.")
    return seconds, grid.bytes_sent[_STAGES.index("collect_masked_vectors")]


def main() -> None:
    """Time the sums, and write what was found."""
    clients, values, bits, width, shares, threshold, repeats = map(int, sys.argv[1:8])
    # Flower's messages name the run and the sender, which its own processes set.
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
    random = np.random.default_rng(_SEED)
    summands = {client: random.integers(0, 2**bits, values) for client in range(1, clients + 1)}
    runs = [timed_sum(summands, bits, width, shares, threshold) for _ in range(repeats)]
    found = {"seconds": [seconds for seconds, _ in runs], "bytes": runs[0][1]}
    Path(sys.argv[8]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
