"""A job, its promotion and a recommendation through a real MLflow server that also carries the artefacts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from models.errors import CorruptArtifact, NotFound
from tasks.local.home import Home
from tasks.scoring.recommend import answer
from tasks.tracking import registry
from tasks.tracking.removal import artifacts_of_run, delete_folder, delete_version
from tests.servers.mlflow_server import MlflowServer
from tests.worlds.small_jobs import small_job


@pytest.fixture
def served(mlflow_server: MlflowServer) -> Path:
    """Return the folder where a server keeps artefacts. The environment names the server by HTTP alone."""
    mlflow_server.start()
    return mlflow_server.folder / "artifacts"


def trained(partition_dir: Path) -> dict[str, Any]:
    from prefect.task_runners import ThreadPoolTaskRunner

    from flows.train import federated_training

    evaluation = {"every": 1}
    config = small_job(partition_dir, model_name="movies", federation={"rounds": 2}, evaluation=evaluation)
    runner: Any = ThreadPoolTaskRunner(max_workers=2)
    return dict(federated_training.with_options(task_runner=runner)(config))


def assert_mlflow_answers_alike(found: dict[str, Any]) -> None:
    """Assert that the champion, loaded by MLflow alone, recommends what `fedrec recommend` does."""
    import mlflow

    model = mlflow.pyfunc.load_model("models:/movies@champion")
    history = [item["item_id"] for item in found["history"]]
    (answered,) = model.predict(pd.DataFrame({"history": [history]}), params={"k": 3}).to_dict("records")
    assert answered["item_ids"] == [item["item_id"] for item in found["recommendations"]]
    assert answered["titles"] == [item["title"] for item in found["recommendations"]]
    assert answered["scores"] == pytest.approx([item["score"] for item in found["recommendations"]], abs=1e-5)


@pytest.mark.usefixtures("prefect_server")
def test_a_job_is_tracked_registered_promoted_and_served_over_http(served, home, partition_dir):
    from flows.promote import promotion

    result = trained(partition_dir)
    assert result["status"] == "finished"
    registered = registry.open_registry(Home(home))
    assert registered.tracking_uri.startswith("http://127.0.0.1:")
    run = registered.get_run(registry._version(registered, "movies", 2).run_id)
    assert run.info.artifact_uri.startswith("mlflow-artifacts:/")
    assert run.info.status == "FINISHED"

    # Every byte went through the server, so this home has no folder of artefacts.
    assert not (Home(home).mlflow / "artifacts").exists()
    files = {path.relative_to(served).as_posix() for path in served.rglob("*.safetensors")}
    names = {name.split("/artifacts/")[1] for name in files}
    assert names >= {"rounds/0001/model.safetensors", "rounds/0002/model.safetensors"}

    decided = promotion(model_name="movies", actor="test", reason="over http")
    assert decided["promoted"], decided
    found = answer(Home(home), "Film 000,Film 002", 3)
    assert found["model_sha256"] == result["model_sha256"]
    assert len(found["recommendations"]) == 3
    assert_mlflow_answers_alike(found)

    champion = registry.load_version(registered, "movies", "champion")
    model = next(path for path in served.rglob(f"{champion.record.round:04d}/model.safetensors"))
    intact = model.read_bytes()
    model.write_bytes(bytes([intact[0] ^ 1]) + intact[1:])
    with pytest.raises(CorruptArtifact, match="record says"):
        registry.load_version(registered, "movies", "champion")
    model.unlink()
    with pytest.raises(NotFound, match=r"model\.safetensors is missing"):
        registry.load_version(registered, "movies", "champion")


@pytest.mark.usefixtures("served")
def test_a_round_leaves_the_server_and_its_neighbours_stay(home):
    client = registry.client(Home(home))
    registry.ensure_registered_model(client, "movies")
    run_id = client.create_run(client.create_experiment("films")).info.run_id
    artifacts = str(artifacts_of_run(client, run_id))
    for folder in ("rounds/0001", "rounds/00011"):
        client.log_text(run_id, "model", f"{folder}/model.safetensors")
        client.create_model_version("movies", f"{artifacts}/{folder}", run_id=run_id)

    delete_version(client, "movies", 1)
    for _ in range(2):  # a second call finds nothing to delete
        delete_folder(client, artifacts, "rounds/0001")

    assert registry.find_tags(client, "movies", 1) is None
    assert registry.find_tags(client, "movies", 2) == {}
    assert [each.path for each in client.list_artifacts(run_id, "rounds")] == ["rounds/00011"]
    assert artifacts_of_run(client, "0" * 32) is None
    # The server, too, tells a missing alias from a missing model, and both from a failure.
    assert registry.version_of_alias(client, "movies", "champion") is None
    assert registry.version_of_alias(client, "books", "champion") is None
    client.set_registered_model_alias("movies", "champion", "2")
    assert registry.version_of_alias(client, "movies", "champion") == 2
