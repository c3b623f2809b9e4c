"""The files below infra/ agree: Procfile and compose file start the same services."""

from __future__ import annotations

import math
import os
import re
import shlex
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.deployments.deployment_file import read_deployment_file
from flows.settings.training_config import load_config, parse_config
from models.secure_sum.graph import threshold

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
COMPOSE: dict[str, Any] = yaml.safe_load((INFRA / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (INFRA / "Dockerfile").read_text()
SILOS = ["silo-01", "silo-02", "silo-03"]
# The programs' own settings may differ in their addresses only.
ADDRESSES = {
    "127.0.0.1": "HOST",
    "0.0.0.0": "HOST",  # noqa: S104
    "$PREFECT_PORT": "PORT",
    "$MLFLOW_PORT": "PORT",
    "$SERVING_PORT": "PORT",
    "$GATEWAY_PORT": "PORT",
    "$GATEWAY_METRICS_PORT": "PORT",
    "8443": "PORT",
    "9464": "PORT",
    "gateway": "HOST",
    "4200": "PORT",
    "5000": "PORT",
    "8080": "PORT",
}


def procfile() -> dict[str, tuple[set[str], list[str]]]:
    """Return each service's environment names and its command, without the parts that wait for others."""
    found = {}
    for line in (INFRA / "Procfile.stack").read_text().splitlines():
        if line.startswith("#"):
            continue
        name, _, command = line.partition(": ")
        words = shlex.split(command)
        own = words[: words.index("exec")]
        after = words[words.index("--") + 1 :] if "--" in words else words[words.index("exec") + 1 :]
        found[name] = ({word.partition("=")[0] for word in own}, after)
    return found


def neutral(words: list[str]) -> list[str]:
    return [words[0], *(ADDRESSES.get(word, word) for word in words[1:])]


def test_both_ways_start_the_same_services():
    assert set(procfile()) == set(SERVICES)
    assert set(SERVICES) == {"postgres", "prefect", "mlflow", "gateway", "coordinator", "serving", *SILOS}


@pytest.mark.parametrize("name", ["prefect", "mlflow", "gateway", "coordinator", "serving", *SILOS])
def test_a_service_is_the_same_in_both(name):
    variables, command = procfile()[name]
    there = SERVICES[name]["command"]
    assert neutral(command) == neutral(there[there.index("--") + 1 :] if "--" in there else there)
    # The password comes from a file here and from the environment there. MLflow has another address there.
    others = set(SERVICES[name]["environment"]) - {"MLFLOW_SERVER_ALLOWED_HOSTS"}
    assert variables == {"PGPASSFILE" if each == "PGPASSWORD" else each for each in others}


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_is_pinned_checked_and_waited_for(name):
    service = SERVICES[name]
    assert re.fullmatch(r"[a-z]+:\d+\.\d+[\w.-]*", service["image"])
    assert service["healthcheck"]["test"][0] == "CMD"
    assert all(each["condition"] == "service_healthy" for each in service.get("depends_on", {}).values())
    assert set(service.get("depends_on", {})) <= set(SERVICES)
    # Only this machine can reach a port.
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    for volume in service["volumes"]:
        source = volume.rpartition("}")[0] or volume.partition(":")[0]
        if source.startswith("./"):
            assert (INFRA / source).exists()
        elif not source.startswith("${"):
            assert source in COMPOSE["volumes"]


def test_health_checks_and_addresses_name_served_ports():
    for name in ("prefect", "mlflow", "serving", "gateway"):
        port = SERVICES[name]["command"][SERVICES[name]["command"].index("--port") + 1]
        if name != "gateway":  # its certificate is its own, so its metrics are asked instead
            assert f"127.0.0.1:{port}/" in SERVICES[name]["healthcheck"]["test"][-1]
        assert SERVICES[name]["ports"] == [f"127.0.0.1:{port}:{port}"]
        if name != "serving":
            environment = SERVICES["coordinator"]["environment"]
            assert any(f"//{name}:{port}" in value for value in environment.values())
    assert "mlflow:5000" in SERVICES["mlflow"]["environment"]["MLFLOW_SERVER_ALLOWED_HOSTS"]


def test_the_serving_process_is_bound_to_the_model_that_the_stack_trains():
    job = yaml.safe_load((INFRA / "stack" / "demo.yaml").read_text())
    command = SERVICES["serving"]["command"]
    assert command[command.index("--model") + 1] == job["model_name"]


def test_silos_share_public_keys_only_and_reach_the_gateway_alone():
    for name in SILOS:
        own, invitation, keys, own_key = SERVICES[name]["volumes"]
        assert own.endswith(f"}}/silos/{name}:/data")
        assert invitation.endswith(f"}}/invitations/{name}:/invitation:ro")
        assert keys.endswith("}/public_keys:/public_keys:ro")
        assert own_key.endswith(f"}}/public_keys/{name}:/public_keys/{name}")
        assert set(SERVICES[name]["environment"]) == {"FEDREC_HOME", "INVITATION", "PUBLIC_KEYS"}
        assert SERVICES[name]["networks"] == ["outside"]
    beside = [name for name, each in SERVICES.items() if "outside" in each.get("networks", [])]
    assert beside == ["gateway", *SILOS]


@pytest.mark.parametrize("name", SILOS)
def test_a_silo_s_roster_gets_all_others(name):
    others = [each for each in SILOS if each != name]
    line = re.search(rf"^{name}: .*$", (INFRA / "Procfile.stack").read_text(), re.MULTILINE)
    for words in (shlex.split(line[0]), SERVICES[name]["command"]):
        script = words.index("infra/stack/join.sh")
        assert words[script + 1 : words.index("--")] == [name, *others]


def test_each_service_has_its_own_role_and_only_what_it_needs_of_the_exchange():
    passwords = {
        name: each["environment"]["PGPASSWORD"]
        for name, each in SERVICES.items()
        if "PGPASSWORD" in each["environment"]
    }
    assert {name: value[2:].partition("_")[0].lower() for name, value in passwords.items()} == {
        "prefect": "prefect",
        "mlflow": "mlflow",
        "gateway": "gateway",
        "coordinator": "gateway",
    }
    with_exchange = [name for name, each in SERVICES.items() if "exchange:/data/exchange" in each["volumes"]]
    assert with_exchange == ["gateway", "coordinator"]
    # Neither the registry, the journals nor the ledger.
    homes = [each.rpartition("/coordinator/")[2] for each in SERVICES["gateway"]["volumes"]]
    assert homes[:3] == [
        "gateway:/data/gateway",
        "trusted_silos:/data/trusted_silos",
        "serving:/data/serving:ro",
    ]


def test_the_statements_make_a_role_and_a_database_for_each_service():
    passwords = {f"{name}_PASSWORD": name.lower() * 2 for name in ("PREFECT", "MLFLOW", "GATEWAY")}
    done = subprocess.run(
        ["sh", str(INFRA / "stack" / "databases.sh"), "cat"],
        env={"PATH": os.environ["PATH"], **passwords},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[:3] == [
        "CREATE ROLE prefect LOGIN PASSWORD 'prefectprefect';",
        "CREATE DATABASE prefect OWNER prefect;",
        "REVOKE CONNECT ON DATABASE prefect FROM PUBLIC;",
    ]
    assert len(done.stdout.splitlines()) == 9


def test_the_container_of_a_silo_has_no_rights_and_no_port():
    [(name, silo)] = yaml.safe_load((INFRA / "compose.silo.yaml").read_text())["services"].items()
    assert (name, silo["image"]) == ("silo", SERVICES["silo-01"]["image"])
    assert silo["command"] == ["fedrec", "silo", "start"]
    assert (silo["read_only"], silo["cap_drop"], silo["ports"]) == (True, ["ALL"], [])
    assert [each.partition("}:")[2] for each in silo["volumes"]] == ["/data"]
    assert set(silo["environment"]) == {"FEDREC_HOME"}


def test_no_file_holds_a_secret():
    example = dict(
        line.split("=", 1)
        for line in (INFRA / "compose.env.example").read_text().splitlines()
        if not line.startswith("#")
    )
    text = (INFRA / "compose.yaml").read_text()
    assert example == dict.fromkeys(re.findall(r"\$\{(\w+):\?", text), "")
    for service in SERVICES.values():
        for name, value in service["environment"].items():
            assert "PASSWORD" not in name or str(value).startswith("${"), name
            assert not re.search(r"://[^/@]*:[^/@]*@", str(value)), name
    assert (INFRA / ".gitignore").read_text().split() == ["compose.env"]


def test_the_image_is_pinned_locked_and_runs_as_an_ordinary_user():
    instructions = re.sub(r"\\\n", " ", DOCKERFILE)
    bases = re.findall(r"^FROM (\S+)", instructions, re.MULTILINE)
    assert len(bases) == 2
    assert all(re.fullmatch(r"python:3\.1[123]\.\d+-slim-\w+", base) for base in bases)
    assert "--require-hashes" in instructions
    final = instructions.rpartition("\nFROM ")[2]
    assert re.search(r"^USER (?!0$|root$)\d+$", final, re.MULTILINE)
    assert final.index("\nUSER ") < final.index("\nENTRYPOINT ")
    for line in re.findall(r"^COPY (?!--from)(.*)", instructions, re.MULTILINE):
        assert all((ROOT / source).exists() for source in line.split()[:-1]), line
    assert not re.search(r"^(ADD|ARG|ENV) .*(PASSWORD|SECRET|TOKEN)", instructions, re.MULTILINE)


@pytest.mark.parametrize("file", ["prefect.yaml", "infra/stack/prefect.yaml"])
def test_a_deployment_file_names_the_prefect_that_is_installed(file):
    declared = yaml.safe_load((ROOT / file).read_text())
    assert declared["prefect-version"] == version("prefect")


def test_docker_receives_everything_that_the_image_copies_and_no_data():
    ignored = (INFRA / "Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in ignored
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    copied = set()
    for line in re.findall(r"^COPY (?!--from)(.*)", DOCKERFILE, re.MULTILINE):
        copied |= set(line.split()[:-1])
    assert copied == let_in


def test_the_stack_s_job_and_deployments_are_valid(monkeypatch, tmp_path):
    monkeypatch.setenv("FEDREC_HOME", str(tmp_path))
    job = load_config(INFRA / "stack" / "demo.yaml", ())
    assert list(job.runner.silos) == SILOS
    assert job.privacy.secure_sum
    # A secure sum of three needs all three, and the quorum of a round says the same.
    assert threshold(len(SILOS)) == len(SILOS) == math.ceil(job.federation.quorum_share * len(SILOS))
    deployed = read_deployment_file(INFRA / "stack" / "prefect.yaml", [])
    [training] = [each for each in deployed.deployments if each.flow_name == "federated-training"]
    assert parse_config(training.parameters["config"], "the deployment") == job
    assert {each.work_pool for each in deployed.deployments} == {"fedrec"}
    assert "--pool fedrec " in (INFRA / "Procfile.stack").read_text()


@pytest.mark.parametrize("path", sorted(INFRA.rglob("*.sh")), ids=lambda path: path.name)
def test_a_script_is_plain_sh_and_stops_at_errors(path):
    text = path.read_text()
    assert text.startswith("#!/bin/sh\n")
    assert "\nset -eu\n" in text
    for shell in filter(shutil.which, ("sh", "bash")):
        assert subprocess.run([shell, "-n", str(path)], check=False).returncode == 0


def test_the_excerpts_for_kubernetes_are_valid_yaml():
    text = (ROOT / "docs" / "kubernetes.md").read_text()
    template, silo, ingress = (
        yaml.safe_load(each) for each in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    )
    variables = set(template["variables"]["properties"])
    used = set(re.findall(r"\{\{ (\w+) \}\}", yaml.safe_dump(template["job_configuration"])))
    assert used == variables
    assert template["job_configuration"]["job_manifest"]["kind"] == "Job"
    for pod in (
        template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"],
        silo["spec"]["template"]["spec"],
    ):
        assert pod["securityContext"]["runAsNonRoot"] is True
        [container] = pod["containers"]
        volumes = {each["name"] for each in pod["volumes"]}
        claims = {each["metadata"]["name"] for each in silo["spec"].get("volumeClaimTemplates", [])}
        assert {each["name"] for each in container["volumeMounts"]} <= volumes | claims
    assert silo["spec"]["replicas"] == 1
    assert silo["spec"]["selector"]["matchLabels"] == silo["spec"]["template"]["metadata"]["labels"]
    assert ingress["spec"]["tls"][0]["hosts"] == [ingress["spec"]["rules"][0]["host"]]


def test_make_s_child_is_the_stack_itself():
    # Make sends SIGTERM to its child alone. A shell in between would die and leave everything running.
    recipe = (ROOT / "Makefile").read_text().partition("\nstack:")[2].partition("\n\n")[0]
    assert re.search(r'^\t@PATH="[^"]+" exec sh infra/stack/up\.sh ', recipe, re.MULTILINE)
    assert (INFRA / "stack" / "up.sh").read_text().splitlines()[-1].startswith("exec honcho ")
