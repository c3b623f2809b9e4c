"""A silo obeys no command, code or path that it finds in Prefect: it runs its own step only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.faults.real_silos import NAMES, Silos

pytestmark = pytest.mark.timeout(900)


def taken_over(silo: str, folder: Path) -> Path:
    """Make the silo's pool and deployment run foreign commands, as anybody who may write to Prefect can.

    Returns:
        A folder that stays empty unless one of them is run.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolUpdate

    traces = folder / "traces"
    traces.mkdir()
    (folder / "theirs.py").write_text(
        f"import pathlib\nfrom prefect import flow\npathlib.Path({str(traces / 'imported')!r}).touch()\n"
        f"@flow\ndef theirs(asked):\n    pathlib.Path({str(traces / 'ran')!r}).touch()\n"
    )
    variables: dict[str, Any] = {
        "command": f"touch {traces / 'command'}",
        "env": {"FEDREC_HOME": str(traces), "FEDREC_SILO_SETTINGS": str(traces / "silo.yaml")},
        "working_dir": str(traces),
    }
    script = {"prefect.deployments.steps.run_shell_script": {"script": f"touch {traces / 'pulled'}"}}
    update = DeploymentUpdate(
        entrypoint="theirs.py:theirs", path=str(folder), pull_steps=[script], job_variables=variables
    )
    template = {"job_configuration": variables, "variables": {"type": "object", "properties": {}}}
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(f"silo-step/{silo}")
        client.update_deployment(deployment.id, update)
        client.update_work_pool(f"silo-{silo}", WorkPoolUpdate(base_job_template=template))
    return traces


def test_a_silo_runs_its_own_step_whatever_prefect_says(silos: Silos, tmp_path: Path) -> None:
    traces = taken_over("cedar", tmp_path)
    silos.start(*NAMES)
    config = silos.config(rounds=1, deadline_s=600)
    result = silos.federation.run(config)
    silos.federation.check(config, result, {})
    assert list(traces.iterdir()) == []
    assert silos.left("cedar", 1) == ["client_update", "train", "evaluate", "compare"]
