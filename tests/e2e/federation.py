"""A federation whose parties have Unix accounts of their own: its processes and folders."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sysconfig
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tasks.jobs.journal import Journal
from tasks.local.environment import settings
from tasks.local.home import Home
from tests.servers.postgres import PostgresServer
from tests.waiting import until

CHECKOUT = Path(__file__).resolve().parents[2]
SILOS = ("ash", "birch", "cedar")
# Processes of pytest that run side by side have accounts of their own.
ACCOUNTS = {name: f"fedrec-e2e{os.environ.get('PYTEST_XDIST_WORKER', '')}-{name}" for name in ("hub", *SILOS)}
HUB = "hub"
PYTHONPATH = os.pathsep.join([str(CHECKOUT), sysconfig.get_path("purelib")])


@dataclass
class Stack:
    """The processes and folders of one federation.

    Attributes:
        root: every account may enter it. Each folder below belongs to one party.
        python: an interpreter that every account can run.
        port: of Prefect's server.
        postgres: the server that holds Prefect's database.
        database: the name of that database.
        running: processes by name.
        deadline_s: seconds that are enough for a silo's step at this machine's current load.
    """

    root: Path
    python: str
    port: int
    postgres: PostgresServer
    database: str
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    deadline_s: float = 0.0

    @property
    def exchange(self) -> Path:
        return self.root / "exchange"

    @property
    def api_url(self) -> str:
        """Prefect's URL."""
        return f"http://127.0.0.1:{self.port}/api"

    def home(self, party: str) -> Home:
        return Home(self.root / party / "home")

    def environment(self, party: str) -> dict[str, str]:
        """Return what a login of the party's account would set. A silo knows Prefect by its settings."""
        given = {
            "PATH": os.defpath,
            "HOME": str(self.root / party),
            "LANG": "C.UTF-8",
            # A worker's output is in its log at once.
            "PYTHONUNBUFFERED": "1",
            **python_variables(self.root),
            "FEDREC_HOME": str(self.home(party).root),
        }
        if party == HUB:
            given |= settings(self.home(party))
            given |= {
                "PREFECT_API_URL": self.api_url,
                "PREFECT_UI_ENABLED": "false",
                "PREFECT_API_DATABASE_CONNECTION_URL": self.postgres.url(self.database, driver="asyncpg"),
            }
            # For the coordinator's worker. `fedrec silo start` sets its own.
            given |= {"TMPDIR": str(self.root / HUB)}
        return given

    def run(self, party: str, *command: str, module: str = "flows") -> subprocess.CompletedProcess[str]:
        """Run a command of the party to its end."""
        return subprocess.run(
            [*self.entering(party), self.python, "-m", module, *command],
            **self.as_party(party),
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def json_of(self, party: str, *command: str) -> dict[str, Any]:
        """Return what a command of fedrec answers with --json."""
        done = self.run(party, *command, "--json")
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def start(self, name: str, party: str, *command: str, module: str = "flows") -> None:
        """Start a process of the party that runs until it is stopped. Its output goes to `<name>.log`."""
        with (self.root / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                [*self.entering(party), self.python, "-m", module, *command],
                **self.as_party(party),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop(self, name: str, sign: int = signal.SIGTERM) -> None:
        """End the process and its children."""
        process = self.running.pop(name)
        if process.poll() is None:
            os.killpg(process.pid, sign)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)

    def serve(self, silo: str) -> None:
        """Start the silo's worker."""
        self.start(f"worker-{silo}", silo, "silo", "start", "--silo", silo)

    def polls(self, silo: str) -> bool:
        """Return whether the silo's worker has started."""
        return "started!" in (self.root / f"worker-{silo}.log").read_text()

    def journal(self, name: str) -> Journal:
        """Return the newest job of this name, read as root."""
        found = sorted(self.home(HUB).jobs.glob(f"{name}-*"), key=lambda path: path.stat().st_mtime)
        assert found, f"no job {name}"
        return Journal(found[-1])

    def finished(self, name: str, seconds: float = 400) -> dict[str, Any]:
        """Return the result of the job of this name. Wait until it has one."""

        def result() -> dict[str, Any] | None:
            jobs = list(self.home(HUB).jobs.glob(f"{name}-*"))
            found = self.journal(name).result() if jobs else None
            return found.to_json() if found else None

        found: dict[str, Any] = until(result, seconds, what=f"job {name}")
        return found

    def by_hand(self, name: str) -> dict[str, Any]:
        """Start the deployment in Prefect, and return the job's result."""
        done = self.run(HUB, "deployment", "run", f"federated-training/{name}", module="prefect")
        assert done.returncode == 0, done.stderr
        return self.finished(name)

    def by_schedule(self, name: str) -> dict[str, Any]:
        """Deploy a job with a schedule of each minute, and return the result of its first run."""
        self.deploy(name, self.config(name), cron="* * * * *")
        try:
            result = self.finished(name)
        finally:
            # Otherwise the next minute would start the next job.
            self.run(HUB, "deployment", "delete", f"federated-training/{name}", module="prefect")
        until(self.is_idle, what="a job that the schedule began meanwhile")
        return result

    def deploy(self, name: str, config: dict[str, Any], cron: str | None = None) -> None:
        """Create the training deployment `name` in Prefect, and one deployment for each silo."""
        entry: dict[str, Any] = {
            "name": name,
            "entrypoint": "flows.train.federated_training",
            "description": "Trains.",
            "work_pool": {"name": "fedrec"},
            "concurrency_limit": 1,
            "parameters": {"config": config},
        }
        if cron:
            entry["schedules"] = [
                {"slug": "often", "cron": cron, "timezone": "Europe/Berlin", "active": True}
            ]
        pull = {"prefect.deployments.steps.set_working_directory": {"directory": "{{ $FEDREC_HOME }}"}}
        file = self.root / f"{name}.yaml"
        file.write_text(yaml.safe_dump({"name": name, "pull": [pull], "deployments": [entry]}))
        self.json_of(HUB, "deploy", "--file", str(file), "--api-url", self.api_url, "--adopt")

    def is_idle(self) -> bool:
        """Return whether no job is running or pending."""
        at_work = {"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}}
        jobs = {"name": {"any_": ["federated-training"]}}
        request = urllib.request.Request(  # noqa: S310 - our own address
            f"{self.api_url}/flow_runs/count",
            json.dumps({"flow_runs": at_work, "flows": jobs}).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return bool(json.load(answer) == 0)

    def config(self, name: str, **sections: dict[str, Any]) -> dict[str, Any]:
        """Return the configuration of a job over all silos."""
        silos = {"kind": "silos", "silos": list(SILOS), "exchange": self.exchange.as_uri()}
        return {
            "name": name,
            "model_name": name,
            "train": {"dims": 4},
            "federation": {"rounds": 2, "deadline_s": 600},
            "evaluation": {"every": 2, "negatives": 9},
            "data": {"items": str(self.root / HUB / "items.csv")},
            "runner": silos,
            **sections,
        }

    def entering(self, party: str) -> list[str]:
        """Return the command that puts what follows where the party is; none, as all share this machine."""
        return []

    def as_party(self, party: str) -> dict[str, Any]:
        """Return the arguments with which `subprocess` runs something as the party would."""
        return as_account(party) | {"cwd": self.root, "env": self.environment(party)}


def python_variables(root: Path) -> dict[str, str]:
    """Return what lets an interpreter find this checkout, its libraries and, if copied, its own library."""
    return {"PYTHONPATH": PYTHONPATH, "LD_LIBRARY_PATH": str(root / "python" / "lib")}


def as_account(party: str) -> dict[str, Any]:
    """Return the arguments with which `subprocess` runs something under the party's account alone."""
    account = pwd.getpwnam(ACCOUNTS[party])
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": [], "umask": 0o022}


def own(path: Path, party: str, mode: int, *, deep: bool = True) -> None:
    account = ACCOUNTS[party]
    for each in [path, *(path.rglob("*") if deep else ())]:
        shutil.chown(each, account, account)
        each.chmod(mode if each.is_dir() else mode & 0o666)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
