"""Measures each step of fedrec on data of MovieLens-25M's shape: 25 million interactions in 100 silos.

The data are synthetic. Histories and popularity have long tails: a user has 20 interactions and a log-normal
number of others, and an item's popularity is a power of its rank, after Mandelbrot. Users have no tastes, so
the figures say nothing about quality.

Each step is a command of fedrec and runs in processes of its own. The results are one JSON object a line. The
same command continues with the steps that are left.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from models.kernel.seeds import generator_for
from tasks.bench.overhead.processes import cpu_of_children, peak_of
from tasks.local.atomic import write_atomically

USERS, ITEMS, INTERACTIONS = 162_000, 59_000, 25_000_000
SILOS, DIMS, SEED = 100, 32, 1
EVALUATED_SHARE = 0.02
# MovieLens-25M has no user with fewer ratings, and half of them have at most 71.
_FEWEST, _MEDIAN_BEYOND, _SPREAD = 20, 51, 1.38
# Popularity of rank r: (r + shift) to the power of minus this.
_SHIFT_OF_ITEMS, _EXPONENT = 0.01, 2.1
_USERS_AT_ONCE = 2_000
_GENRES = [f"genre {number}" for number in range(20)]
_COLUMNS = {"wall_s": 0, "cpu_s": 0, "peak_gb": 2}
_LOOK_S = 0.2
_DEADLINE_S = 36_000
_QUESTIONS, _HISTORY = 300, 10


@dataclass(frozen=True)
class World:
    """The numbers of users, items and interactions."""

    users: int
    items: int
    interactions: int

    @classmethod
    def scaled(cls, scale: float) -> World:
        """Return MovieLens-25M's numbers times `scale`; that of items shrinks with its root only."""
        return cls(round(USERS * scale), round(ITEMS * scale**0.5), round(INTERACTIONS * scale))


def main() -> None:
    """Run the steps that are left, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="for data, home and results")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the users and interactions")
    parser.add_argument("--silos", type=int, default=SILOS)
    parser.add_argument("--scored-silos", type=int, help="score the users of so many silos; all by default")
    arguments = parser.parse_args()
    folder = arguments.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    steps = Steps(folder, World.scaled(arguments.scale), arguments.silos, arguments.scored_silos)
    results = folder / "results.jsonl"
    rows = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    done = {row["step"] for row in rows}
    for name, step in steps.all().items():
        if name not in done:
            print(name, file=sys.stderr, flush=True)
            rows.append({"step": name, **step(), "load": os.getloadavg()[0]})
            with results.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    print("\n".join(table_of(rows)))


def table_of(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the lines of a markdown table of these results."""
    head = ["| step | wall s | CPU s | peak GB | what it made |", "|---|---:|---:|---:|---|"]
    return head + [
        f"| {row['step']} | "
        + " | ".join(f"{row[name]:,.{digits}f}" for name, digits in _COLUMNS.items())
        + f" | {row['note']} |"
        for row in rows
    ]


@dataclass(frozen=True)
class Steps:
    """The measured steps.

    Attributes:
        folder: has the data, the home and the results.
        world: the size of the data.
        silos: number of clients.
        scored_silos: number of silos whose users are scored; None for all users.
    """

    folder: Path
    world: World
    silos: int
    scored_silos: int | None = None

    def all(self) -> dict[str, Callable[[], dict[str, Any]]]:
        """Return the steps by name, in their order."""
        return {
            "make the data": self.data,
            "data partition": self.partition,
            "train, one round": self.train,
            "promote": self.promote,
            "evaluate": self.evaluate,
            "serve": self.serve,
            "score": self.score,
        }

    def data(self) -> dict[str, Any]:
        """Write the interactions and the items, in this process."""
        began, cpu = time.perf_counter(), time.process_time()
        write_items(self._items, self.world.items)
        write_interactions(self._interactions, self.world)
        return {
            "wall_s": time.perf_counter() - began,
            "cpu_s": time.process_time() - cpu,
            "peak_gb": psutil.Process().memory_info().rss / 1e9,
            "note": f"{self.world.interactions:,} interactions",
        }

    def partition(self) -> dict[str, Any]:
        """Measure `fedrec data partition`."""
        files = ["--interactions", self._interactions, "--items", self._items]
        split = ["--random", self.silos, "--out", self._partition, "--force"]
        facts, found = self._run("data", "partition", *files, *split)
        return facts | {
            "note": f"{len(found['clients'])} silos, {found['users']:,} users, {found['interactions']:,} "
            f"interactions, {found['items']:,} items"
        }

    def train(self) -> dict[str, Any]:
        """Measure `fedrec train` of one round of LightFM."""
        config = {
            "name": "large",
            "model_name": "large",
            "seed": SEED,
            "data": {"dir": str(self._partition)},
            "train": {"dims": DIMS},
            "federation": {"rounds": 1, "deadline_s": _DEADLINE_S},
            "evaluation": {"silo_only": False, "users_share": EVALUATED_SHARE},
        }
        write_atomically(self._config, yaml.safe_dump(config).encode())
        facts, found = self._run("train", "--config", self._config)
        parts = {name: seconds for name, seconds in found["timings"].items() if seconds}
        return facts | {"note": f"LightFM, {DIMS} dims", "parts_s": parts, "sha256": found["model_sha256"]}

    def promote(self) -> dict[str, Any]:
        """Measure `fedrec promote`."""
        facts, found = self._run("promote", "--model", "large")
        return facts | {"note": f"version {found['version']}"}

    def evaluate(self) -> dict[str, Any]:
        """Measure `fedrec evaluate`."""
        facts, found = self._run("evaluate", "--model", "large")
        return facts | {"note": f"{found['users']:,} users"}

    def serve(self) -> dict[str, Any]:
        """Measure `fedrec serve`: the time to its first answer, and the median of the others."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        began, cpu = time.perf_counter(), cpu_of_children()
        command = self._command("serve", "--model", "large", "--port", port, "--rate", 0)
        with (
            (self.folder / "serve.log").open("wb") as log,
            subprocess.Popen(command, env=self._environ, stdout=log, stderr=log) as server,
            peak_of(server.pid) as peak,
        ):
            try:
                answers = asked(port, self._questions(), server, began)
            finally:
                server.terminate()
                server.wait()
        return {
            "wall_s": answers["first_s"],
            "cpu_s": cpu_of_children() - cpu,
            "peak_gb": peak[0] / 1e9,
            "note": f"first answer; then p50 {answers['p50_ms']:.2f} ms",
            **answers,
        }

    def score(self) -> dict[str, Any]:
        """Measure `fedrec score`."""
        users, out = self._interactions, self.folder / "recommendations.parquet"
        if self.scored_silos:
            users = self.folder / "scored.parquet"
            files = sorted((self._partition / "clients").glob("*/interactions.parquet"))
            pq.write_table(pa.concat_tables(map(pq.read_table, files[: self.scored_silos])), users)
        facts, found = self._run("score", "--users", users, "--out", out, "--model", "large")
        return facts | {"note": f"{found['recommendations']:,} recommendations for {found['users']:,} users"}

    @property
    def _items(self) -> Path:
        return self.folder / "items.parquet"

    @property
    def _interactions(self) -> Path:
        return self.folder / "interactions.parquet"

    @property
    def _partition(self) -> Path:
        return self.folder / "partition"

    @property
    def _config(self) -> Path:
        return self.folder / "config.yaml"

    @property
    def _environ(self) -> dict[str, str]:
        foreign = ("FEDREC_", "MLFLOW_", "PREFECT_")
        own = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return own | {"FEDREC_HOME": str(self.folder / "home")}

    @staticmethod
    def _command(*arguments: object) -> list[str]:
        return [sys.executable, "-m", "flows", *map(str, arguments)]

    def _run(self, *arguments: object) -> tuple[dict[str, float], dict[str, Any]]:
        """Return what a command needed, and the object that it printed."""
        out, err = self.folder / "out.json", self.folder / f"{arguments[0]}.log"
        began, cpu = time.perf_counter(), cpu_of_children()
        with out.open("wb") as result, err.open("wb") as log:
            command = self._command(*arguments, "--json")
            with (
                subprocess.Popen(command, env=self._environ, stdout=result, stderr=log) as process,
                peak_of(process.pid) as peak,
            ):
                process.wait()
        if process.returncode:
            sys.exit(f"{' '.join(command)} ended with {process.returncode}: {err.read_text()[-2000:]}")
        facts = {
            "wall_s": time.perf_counter() - began,
            "cpu_s": cpu_of_children() - cpu,
            "peak_gb": peak[0] / 1e9,
        }
        return facts, json.loads(out.read_bytes())

    def _questions(self) -> list[bytes]:
        draw = generator_for(SEED, "questions")
        drawn = draw.integers(0, self.world.items, (_QUESTIONS, _HISTORY)).tolist()
        return [
            json.dumps({"history": [{"item_id": f"i{row}"} for row in dict.fromkeys(each)], "k": 10}).encode()
            for each in drawn
        ]


def asked(
    port: int, questions: Sequence[bytes], server: subprocess.Popen[bytes], began: float
) -> dict[str, float]:
    """Return the seconds since `began` of the first answer, and the median of the others in milliseconds."""
    first: float | None = None
    while first is None:
        if server.poll() is not None:
            sys.exit(f"fedrec serve ended with {server.returncode}.")
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            if _status(connection, questions[0]) == http.HTTPStatus.OK:
                first = time.perf_counter() - began
        except OSError:
            pass
        if first is None:
            connection.close()
            time.sleep(_LOOK_S)
    seconds = []
    for question in questions:
        start = time.perf_counter()
        status = _status(connection, question)
        seconds.append(time.perf_counter() - start)
        if status != http.HTTPStatus.OK:
            sys.exit(f"fedrec serve answered {status}.")
    connection.close()
    return {"first_s": first, "p50_ms": float(np.median(seconds)) * 1e3}


def _status(connection: http.client.HTTPConnection, question: bytes) -> int:
    connection.request("POST", "/v1/recommendations", question, {"content-type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def write_items(path: Path, items: int) -> None:
    """Write the items file: item_id, title, and genres with one to three labels."""
    draw = generator_for(SEED, "items", items)
    genres = [
        "|".join(_GENRES[each] for each in sorted(set(row[: 1 + row[3] % 3])))
        for row in draw.integers(0, len(_GENRES), (items, 4)).tolist()
    ]
    names = [f"i{row}" for row in range(items)]
    titles = [f"Film {row}" for row in range(items)]
    pq.write_table(pa.table({"item_id": names, "title": titles, "genres": genres}), path)


def write_interactions(path: Path, world: World) -> None:
    """Write the interactions, user after user, without ever holding more than a part of them."""
    lengths = history_lengths(world)
    popularity = (np.arange(world.items) + 1 + _SHIFT_OF_ITEMS * world.items) ** -_EXPONENT
    popularity = popularity.astype(np.float32)
    schema = pa.schema(
        [
            ("user_id", pa.string()),
            ("item_id", pa.string()),
            ("rating", pa.float32()),
            ("timestamp", pa.int64()),
        ]
    )
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for first in range(0, world.users, _USERS_AT_ONCE):
            some = lengths[first : first + _USERS_AT_ONCE]
            draw = generator_for(SEED, "interactions", first)
            # The smallest keys: a weighted draw without replacement (Efraimidis & Spirakis 2006, A).
            used = [
                np.argpartition(draw.standard_exponential(world.items, np.float32) / popularity, length)[
                    :length
                ]
                for length in some.tolist()
            ]
            columns = [
                np.repeat([f"u{first + user}" for user in range(len(some))], some),
                [f"i{item}" for item in np.concatenate(used).tolist()],
                (draw.integers(1, 11, some.sum()) / 2).astype(np.float32),
                draw.integers(1_000_000_000, 1_600_000_000, some.sum()),
            ]
            writer.write_table(pa.table(columns, schema=schema))


def history_lengths(world: World) -> np.ndarray:
    """Return (users,): lengths of histories with a long tail, whose sum is the number of interactions."""
    beyond = generator_for(SEED, "lengths", world.users).lognormal(
        np.log(_MEDIAN_BEYOND), _SPREAD, world.users
    )
    wanted = np.minimum(beyond, world.items / 10)
    wanted *= (world.interactions - _FEWEST * world.users) / wanted.sum()
    ends = np.rint(np.cumsum(wanted)).astype(np.int64)
    return _FEWEST + np.diff(ends, prepend=0)


if __name__ == "__main__":
    main()
