"""`fedrec train` with its own Prefect server is killed and run again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import yaml

WITHOUT_A_SERVER = ("PREFECT_API_URL", "MLFLOW_TRACKING_URI")


def typed(federation: Any, path: Path) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if name not in WITHOUT_A_SERVER}
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("fedrec")), "train", "--config", str(path), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**kept, "FEDREC_HOME": str(federation.home.root)},
    )


def states(database: Path) -> dict[str, str]:
    """Return the state of every flow run in a Prefect server's own database."""
    import sqlite3

    with sqlite3.connect(database) as connection:
        return {
            str(id_).replace("-", ""): state
            for id_, state in connection.execute("SELECT id, state_type FROM flow_run")
        }


def test_the_next_command_ends_server_and_flow_run_of_a_killed_one(federation: Any, tmp_path: Path) -> None:
    config = federation.config(federation={"rounds": 3})
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    killed = typed(federation, path)
    assert killed.stderr is not None
    for line in killed.stderr:
        if line.startswith("Round 1/3"):
            break
    killed.send_signal(signal.SIGKILL)
    # Wait for the process only: the server that it leaves behind holds its pipes open.
    killed.wait(timeout=30)
    (note,) = (federation.home.prefect / "servers").glob("*.json")
    server = psutil.Process(json.loads(note.read_text())["pid"])
    assert server.is_running()
    database = federation.home.prefect / "prefect.db"
    (dead,) = states(database)

    again = typed(federation, path)
    stdout, stderr = again.communicate(timeout=270)
    assert again.returncode == 0, stderr
    result = json.loads(stdout)
    assert "continues after round" in stderr
    assert "Round 3/3" in stderr
    assert "Traceback" not in stderr
    assert not server.is_running() or server.status() == psutil.STATUS_ZOMBIE
    assert states(database) == {dead: "CRASHED", result["flow_run_id"].replace("-", ""): "COMPLETED"}
    federation.check_files(config, result, lost={})
