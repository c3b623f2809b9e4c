"""Records of a job with noise say which clients are missing, and nothing of their data."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.recommenders.private.spec import DpItemsSpec
from tasks.jobs.journal import Journal
from tasks.local.home import Home
from tests.worlds.changed_data import republish
from tests.worlds.small_jobs import small_job


def _repeat_the_first_row(partition: Path, client: str) -> None:
    path = partition / "clients" / client / "interactions.parquet"
    table = pq.ParquetFile(path).read()
    pq.write_table(pa.concat_tables([table, table.slice(0, 1)]), path)
    republish(partition, client)


@pytest.mark.parametrize("is_private", [True, False])
def test_why_a_client_is_missing_names_no_user_and_no_item(
    is_private: bool, partition_dir: Path, mlflow_home: Home, prefect_server: None
) -> None:
    from flows.train import run_locally

    _repeat_the_first_row(partition_dir, "ash")
    table = pq.ParquetFile(partition_dir / "clients" / "birch" / "interactions.parquet").read()
    table = table.set_column(
        table.column_names.index("item_id"),
        "item_id",
        pa.array(["only-birch-sells-it", *table.column("item_id").to_pylist()[1:]]),
    )
    pq.write_table(table, partition_dir / "clients" / "birch" / "interactions.parquet")
    republish(partition_dir, "birch")
    config = small_job(
        partition_dir,
        train=DpItemsSpec(),
        federation={"rounds": 2, "quorum_share": 0.3},
        privacy={"unit": "user", "epsilon": 4.0, "budget": 8.0} if is_private else {},
    )
    result, _ = run_locally(config)
    rejected = {each.client_id: each for each in result.rounds[0].rejected}
    assert {name: each.stage for name, each in rejected.items()} == dict.fromkeys(
        ("ash", "birch"), "interactions"
    )
    written = [path for path in (mlflow_home.jobs / result.job_id).rglob("*") if path.is_file()]
    assert Journal(mlflow_home.jobs / result.job_id).committed()
    telling = [path for path in written if b"only-birch-sells-it" in path.read_bytes()]
    logs = [mlflow_home.silos / name / "client.log" for name in ("ash", "birch")]
    if not is_private:
        assert telling
        assert "pair_once" in rejected["ash"].reason
        assert not any(each.exists() for each in logs)
        return
    assert not telling
    for each, log in zip((rejected["ash"], rejected["birch"]), logs, strict=True):
        assert each.reason == (
            f"Its data break the interactions contract; the client's own log {log} has the details."
        )
    assert "pair_once" in logs[0].read_text()
    assert "item_known" in logs[1].read_text()
