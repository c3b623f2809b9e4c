"""A small federation to which faults happen, and the one checker of their outcome.

The checker's reference is a bare loop over the functions of `models/`: no Prefect, journal, exchange, MLflow
or thread. It leaves out the same clients in the same rounds, so the job's models must have the same bytes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flows.settings.training_config import TrainingConfig
from models.evaluation.split import split_leave_one_out
from models.federation.contribution import RunningSum
from models.federation.model import ClientUpdate, GlobalModel
from models.federation.rounds import plan_round
from models.kernel.catalog import ItemCatalog
from models.recommenders.base.training_set import TrainingSet
from models.recommenders.lightfm.merge_rules import merge_rule
from models.recommenders.lightfm.training import initial_items, initial_users, train_round
from tasks.exchange.codec import encode_model
from tasks.jobs.journal import Journal
from tasks.local.home import Home
from tests.faults.real_silos import Silos, deployed
from tests.servers.prefect_server import PrefectServer
from tests.worlds.mlflow_home import put_database
from tests.worlds.small_jobs import small_job

# Round -> client -> the stage at which it was lost.
Lost = Mapping[int, Mapping[str, str]]

# Status of a job -> the status of its MLflow run and the type of its flow run's state.
_END = {"finished": ("FINISHED", "COMPLETED"), "stopped": ("FAILED", "FAILED")}


def sha256(model: GlobalModel) -> str:
    return hashlib.sha256(encode_model(model)).hexdigest()


def reference(config: TrainingConfig, partition: Path, lost: Lost, rounds: int) -> list[GlobalModel]:
    """Return the models of rounds 0 to `rounds` if these clients are left out of these rounds."""
    catalog = ItemCatalog.of(pd.read_parquet(partition / "items.parquet")["item_id"])
    data, users = {}, {}
    for folder in sorted((partition / "clients").iterdir()):
        if all(folder.name in lost.get(round_, {}) for round_ in range(1, rounds + 1)):
            data[folder.name] = None  # never seen, so its file need not be readable
            continue
        frame = pd.read_parquet(folder / "interactions.parquet")
        ids = sorted(frame["user_id"].unique())
        rows = np.array([ids.index(user_id) for user_id in frame["user_id"]], dtype=np.int32)
        items = catalog.rows_of(frame["item_id"].tolist())
        split = split_leave_one_out(
            rows, items, frame["timestamp"].to_numpy(), len(ids), config.evaluation.seed
        )
        data[folder.name] = TrainingSet(split.train_users, split.train_items, (len(ids), len(catalog)))
        users[folder.name] = initial_users(len(ids), config.train.dims, config.seed, folder.name)
    model = GlobalModel(0, catalog.digest, initial_items(len(catalog), config.train.dims, config.seed))
    models = [model]
    rule = merge_rule(config.train.merge_rule, config.train.server_learning_rate)
    for round_ in range(1, rounds + 1):
        plan = plan_round(
            round_,
            seed=config.seed,
            clients=data,
            cohort_share=config.federation.cohort_share,
            quorum_share=0.0,
        )
        robust = config.federation.robust
        dealt = robust.groups(plan.cohort, config.seed)
        group_of = {client_id: number for number, group in enumerate(dealt) for client_id in group}
        sums = [rule.empty(model) for _ in dealt]
        for client_id in plan.cohort:
            if client_id in lost.get(round_, {}):
                continue
            trained, users[client_id] = train_round(
                model.items,
                users[client_id],
                data[client_id],
                config.train,
                seed=config.seed,
                round_=round_,
                client_id=client_id,
            )
            deltas = rule.prepare(model.items, trained)
            interactions = len(data[client_id])
            contribution = rule.rounded(rule.contribution(deltas, interactions))
            update = ClientUpdate(client_id, model.round, "", catalog.digest, contribution)
            number = group_of[client_id]
            sums[number] = rule.add(sums[number], model, update)
        found = [state for state in sums if state.clients]
        state = robust.total(RunningSum.joined(found), {each.clients[0]: each.total for each in found})
        model = rule.finish(state, model)
        models.append(model)
    return models


@dataclass
class Federation:
    """Three silos and a coordinator in a home of their own."""

    home: Home
    partition: Path
    name: str

    def config(self, **sections: Any) -> TrainingConfig:
        """Return a small job. `sections` override its defaults section by section."""
        mine = {
            "name": self.name,
            "model_name": self.name,
            "federation": {"rounds": 3},
            "evaluation": {"every": 1},
            "runner": {"threads": 2},
        }
        for name, section in sections.items():
            mine[name] = {**mine.get(name, {}), **section} if isinstance(section, dict) else section
        return small_job(self.partition, **mine)

    def run(self, config: TrainingConfig) -> dict[str, Any]:
        """Run the job in this process, against the session's Prefect server. Return its result."""
        from flows.train import run_locally

        result, exit_code = run_locally(config)
        return result.to_json() | {"exit_code": exit_code}

    def client_file(self, client_id: str) -> Path:
        return self.partition / "clients" / client_id / "interactions.parquet"

    def journal(self, result: Mapping[str, Any]) -> Journal:
        return Journal(self.home.jobs / result["job_id"])

    def reference(self, config: TrainingConfig, lost: Lost, rounds: int) -> list[GlobalModel]:
        """Return the models that the checker expects."""
        return reference(config, self.partition, lost, rounds)

    def check(
        self,
        config: TrainingConfig,
        result: dict[str, Any],
        lost: Lost,
        *,
        states: Mapping[str, int] | None = None,
        rounds: int | None = None,
    ) -> None:
        """Assert that the job ended as one without faults and with the same clients, and did nothing twice.

        Args:
            config: of the job.
            result: the result of its last attempt.
            lost: the clients that were left out, by round.
            states: the number of the job's flow runs in each final state. The default is one that completed,
                or failed for a job that stopped.
            rounds: number of rounds that had to be committed. The default is all rounds.
        """
        self.check_files(config, result, lost, rounds=rounds)
        self._check_prefect(result, states or {_END[result["status"]][1]: 1})

    def check_files(
        self, config: TrainingConfig, result: dict[str, Any], lost: Lost, *, rounds: int | None = None
    ) -> None:
        """Make the assertions of `check` except those about Prefect's records."""
        rounds = config.federation.rounds if rounds is None else rounds
        assert result["status"] == ("finished" if rounds == config.federation.rounds else "stopped")
        assert [each["round"] for each in result["rounds"]] == list(range(1, rounds + 1))
        hashes = [sha256(model) for model in self.reference(config, lost, rounds)]
        assert [each["model_sha256"] for each in result["rounds"]] == hashes[1:]
        assert result["model_sha256"] == hashes[-1]
        for each in result["rounds"]:
            assert len({rejection["client_id"] for rejection in each["rejected"]}) == len(each["rejected"])
        found = {
            each["round"]: {rejection["client_id"]: rejection["stage"] for rejection in each["rejected"]}
            for each in result["rounds"]
        }
        assert {round_: rejected for round_, rejected in found.items() if rejected} == {
            round_: dict(clients) for round_, clients in lost.items()
        }
        assert all(rejection["reason"] for each in result["rounds"] for rejection in each["rejected"])
        self._check_journal(result, hashes)
        self._check_mlflow(result, hashes)

    def _check_journal(self, result: dict[str, Any], hashes: list[str]) -> None:
        journal = self.journal(result)
        assert [record.model_sha256 for record in journal.committed()] == hashes
        assert all(journal.tracked(round_) is not None for round_ in range(len(hashes)))
        assert len(list(self.home.jobs.glob("*/job.json"))) == 1
        kept = journal.result()
        assert kept is not None
        assert kept.to_json() == {k: v for k, v in result.items() if k != "exit_code"}
        assert not [path for path in self.home.jobs.rglob(".*.json.*") if path.is_file()]

    def _check_mlflow(self, result: dict[str, Any], hashes: list[str]) -> None:
        from mlflow.tracking import MlflowClient

        client = MlflowClient()
        versions = client.search_model_versions(f"name = '{self.name}'")
        tags = sorted((int(each.tags["fedrec.round"]), each.tags["fedrec.sha256"]) for each in versions)
        assert tags == list(enumerate(hashes))[1:]
        assert {each["round"]: each["version"] for each in result["rounds"]} == {
            int(each.tags["fedrec.round"]): int(each.version) for each in versions
        }
        (run,) = client.search_runs([client.get_experiment_by_name(self.name).experiment_id])
        assert run.info.status == _END[result["status"]][0]
        assert run.data.tags.get("fedrec.stop_reason") == result["stop_reason"]
        assert run.info.run_id == result["run_id"]
        for name in run.data.metrics:
            if name.startswith(("quality/validation/", "round/", "seconds/")) and "/job/" not in name:
                steps = Counter(point.step for point in client.get_metric_history(run.info.run_id, name))
                assert set(steps.values()) == {1}, (name, steps)
        for artifact in client.list_artifacts(run.info.run_id, "clients"):
            table = pd.read_json(client.download_artifacts(run.info.run_id, artifact.path), orient="split")
            assert table["client_id"].is_unique, artifact.path
        for artifact in client.list_artifacts(run.info.run_id, "drift"):
            table = pd.read_json(client.download_artifacts(run.info.run_id, artifact.path), orient="split")
            listed = list(zip(table["round"], table["client_id"], strict=True))
            merged = [(one["round"], name) for one in result["rounds"] for name in one["accepted"]]
            assert sorted(listed) == sorted(merged), artifact.path

    def _check_prefect(self, result: dict[str, Any], states: Mapping[str, int]) -> None:
        from prefect.client.orchestration import get_client
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName

        from tasks.orchestration.runs import _unended_tasks

        with get_client(sync_client=True) as client:
            runs = client.read_flow_runs(
                flow_run_filter=FlowRunFilter(name=FlowRunFilterName(like_=self.name))
            )
            found = Counter(run.state.type.value for run in runs)
            assert dict(found) == dict(states)
            (last,) = [run for run in runs if str(run.id) == result["flow_run_id"]]
            assert last.state.type.value == _END[result["status"]][1]
            for run in runs:
                assert run.state.is_final()
                assert client.read_task_runs(**_unended_tasks(str(run.id))) == []


@pytest.fixture
def federation(
    home: Path,
    partition_dir: Path,
    prefect_server: None,
    empty_database: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Federation:
    """Return a federation with a fresh home and partition."""
    folders = Home(home)
    put_database(folders, empty_database)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folders.mlflow / 'mlflow.db'}")
    digest = hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]
    return Federation(folders, partition_dir, f"faults-{digest}")


@pytest.fixture
def silos(federation: Federation, prefect_on_postgres: PrefectServer, tmp_path: Path) -> Iterator[Silos]:
    """Return three silos that are deployed in Prefect. Their workers have not started."""
    with deployed(tmp_path, federation) as here:
        yield here
