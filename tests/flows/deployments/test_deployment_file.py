"""prefect.yaml declares what it should. A file with a fault is refused with the fault's line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from flows.deployments.deployment_file import read_deployment_file
from flows.deployments.parameter_form import parameter_form
from models.errors import InvalidConfig
from tasks.orchestration.deployments import Deployment

CHECKOUT = Path(__file__).parents[3]

GOOD = """\
name: shops
pull:
  - prefect.deployments.steps.set_working_directory:
      directory: "{{ $FEDREC_HOME }}"
deployments:
  - name: nightly
    entrypoint: flows.promote.promotion
    description: Promotes.
    tags: [promotion]
    work_pool:
      name: shops
      job_variables:
        env: {A: "1"}
    concurrency_limit: 2
    schedules:
      - slug: nightly
        cron: "0 5 * * 1"
        timezone: Europe/Berlin
    parameters:
      tolerance: 0.1
  - name: train
    entrypoint: flows.train.federated_training
    description: Trains.
    work_pool: {name: shops}
    parameters:
      config:
        name: shops
        model_name: shops
        data: {dir: $FEDREC_HOME/data}
"""


def read(folder: Path, text: str) -> tuple[Deployment, ...]:
    path = folder / "prefect.yaml"
    path.write_text(text)
    return read_deployment_file(path).deployments


def faults(folder: Path, text: str) -> list[str]:
    with pytest.raises(InvalidConfig) as caught:
        read(folder, text)
    assert caught.value.exit_code == 2
    return list(caught.value.faults)


def test_the_project_s_own_file_is_valid() -> None:
    file = read_deployment_file(CHECKOUT / "prefect.yaml")

    assert file.project == "fedrec"
    assert [each.full_name for each in file.deployments] == [
        "federated-training/ml-100k",
        "promotion/ml-100k",
        "rollback/ml-100k",
        "housekeeping/nightly",
    ]
    schedules = [one for each in file.deployments for one in each.schedules.values()]
    assert [one.active for one in schedules] == [False, False, False]
    assert {each.concurrency_limit for each in file.deployments} == {1}


def test_a_file_becomes_deployments(tmp_path: Path) -> None:
    promotes, trains = read(tmp_path, GOOD)

    assert promotes.full_name == "promotion/nightly"
    assert (promotes.concurrency_limit, promotes.collision_strategy) == (2, "ENQUEUE")
    assert promotes.schedules["nightly"].active is None
    assert promotes.job_variables == {"env": {"A": "1"}}
    # Each worker resolves it in its own environment.
    [step] = promotes.pull_steps
    assert step["prefect.deployments.steps.set_working_directory"]["directory"] == "{{ $FEDREC_HOME }}"
    assert trains.parameters["config"]["data"] == {"dir": "$FEDREC_HOME/data"}


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("name: shops\npull", "name: shops\npul", 2, "unknown key 'pul'. Did you mean pull?"),
        ("    tags: [", "    tag: [", 9, "unknown key 'tag'. Did you mean tags?"),
        ("      job_variables:", "      job_variable:", 12, "Did you mean job_variables?"),
        ("concurrency_limit: 2", "concurrency_limit: {limits: 2}", 14, "Did you mean limit?"),
        ("concurrency_limit: 2", "concurrency_limit: 0", 14, "greater than or equal to 1"),
        ("        timezone", "        time_zone", 18, "Did you mean timezone?"),
        ("Europe/Berlin", "Europe/Berlni", 18, "Did you mean Europe/Berlin?"),
        ("0 5 * * 1", "0 25 * * 1", 17, "cron"),
        ("tolerance: 0.1", "tolerence: 0.1", 20, "Did you mean tolerance?"),
        ("tolerance: 0.1", "tolerance: much", 20, "valid number"),
        ("promote.promotion", "promote.promotoin", 7, "Did you mean promotion?"),
        ("flows.promote.", "flows.promoted.", 7, "cannot be imported"),
        ("flows.promote.promotion", "flows.promote", 7, "'flows' has no flow 'promote'"),
        ("        model_name", "        modell_name", 28, "Did you mean model_name?"),
        ("data: {dir:", "data: {folder:", 29, "unknown key data.folder"),
        ("    description: Trains.\n", "", 21, "Field required"),
        ("Trains.", "Trains {{ $HOME }}.", 23, "templates are allowed only in pull steps"),
        ("      directory:", "      folder:", 3, "missing a required argument: 'directory'"),
        ("set_working_directory", "set_work_directory", 3, "cannot be called"),
    ],
)
def test_a_fault_is_reported_with_its_line(tmp_path: Path, old: str, new: str, line: int, words: str) -> None:
    assert old in GOOD
    reported = faults(tmp_path, GOOD.replace(old, new))

    assert any(re.match(rf"line {line}: ", one) and words in one for one in reported), reported


def test_all_faults_are_reported_together(tmp_path: Path) -> None:
    text = GOOD.replace("Europe/Berlin", "Mars").replace("limit: 2", "limit: -1").replace("Promotes.", "''")

    assert [one.partition(":")[0] for one in faults(tmp_path, text)] == ["line 8", "line 14", "line 18"]


def test_two_deployments_or_two_schedules_of_one_name_are_refused(tmp_path: Path) -> None:
    again = GOOD.replace("flows.train.federated_training", "flows.promote.promotion").replace(
        "name: train", "name: nightly"
    )
    [*_, reported] = faults(tmp_path, again[: again.index("    parameters:\n      config")])
    assert "another deployment has the name promotion/nightly" in reported

    one = '      - slug: nightly\n        cron: "0 5 * * 1"\n        timezone: Europe/Berlin\n'
    [reported] = faults(tmp_path, GOOD.replace(one, one * 2))
    assert reported.startswith("line 19: ")
    assert "another schedule has the slug 'nightly'" in reported


def test_a_scheduled_run_needs_all_parameters_without_default(tmp_path: Path) -> None:
    scheduled = GOOD[: GOOD.rindex("    parameters:")] + (
        "    schedules:\n      - {slug: s, cron: '0 1 * * *', timezone: UTC}\n"
    )
    [reported] = faults(tmp_path, scheduled)

    assert "a run without a form needs 'config'" in reported
    # Without a schedule a user fills in the form.
    read(tmp_path, GOOD[: GOOD.rindex("    parameters:")])


@pytest.mark.parametrize("text", ["", "- a\n", "a: [\n", "name: x\ndeployments: []\n"])
def test_another_yaml_file_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidConfig):
        read(tmp_path, text)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="cannot be read"):
        read_deployment_file(tmp_path / "prefect.yaml")


def test_a_fault_in_an_added_deployment_is_reported_too(tmp_path: Path) -> None:
    (tmp_path / "prefect.yaml").write_text(GOOD)
    silo = {"name": "s", "entrypoint": "flows.nowhere.step", "description": "d", "work_pool": {"name": "p"}}

    with pytest.raises(InvalidConfig, match=r"flows\.nowhere"):
        read_deployment_file(tmp_path / "prefect.yaml", [silo])


def undescribed(schema: dict[str, Any], name: str = "") -> list[str]:
    """Return the fields of a schema without a description."""
    fields = schema.get("properties", {})
    return [f"{name}.{field}" for field, one in fields.items() if not one.get("description")]


def test_every_field_of_the_forms_is_described() -> None:
    from flows.housekeeping import housekeeping
    from flows.promote import promotion, rolling_back
    from flows.train import federated_training

    for flow in (federated_training, promotion, rolling_back, housekeeping):
        form = parameter_form(flow)
        assert undescribed(form, flow.name) == []
        for name, definition in form.get("definitions", {}).items():
            assert undescribed(definition, name) == []
    spec = parameter_form(federated_training)["definitions"]["LightFMSpec"]
    assert spec["properties"]["user_alpha"]["description"] == "L2 penalties."
    assert (
        spec["description"]
        == "The settings of LightFM (Kula 2015): training on clients, and merging on the server."
    )


def test_the_form_accepts_a_training_section_that_names_no_family() -> None:
    from flows.train import federated_training

    train = parameter_form(federated_training)["definitions"]["TrainingConfig"]["properties"]["train"]
    assert "oneOf" not in train  # Prefect's server refuses values that fit several
    assert {each["$ref"].rpartition("/")[2] for each in train["anyOf"]} == {
        "LightFMSpec",
        "IalsSpec",
        "EaseSpec",
        "NextItemSpec",
        "BlendSpec",
        "DpItemsSpec",
        "RatingSpec",
    }
