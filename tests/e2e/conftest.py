"""A coordinator and three silos, each under its own Unix account, which share Prefect and the exchange."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from tasks.datasets.client_assignment import ByColumn
from tasks.datasets.partition import make_partition
from tasks.jobs.journal import Journal
from tasks.local.environment import settings
from tasks.local.home import Home
from tests.conftest import small_tables
from tests.faults.real_silos import deadline_after
from tests.servers.free_port import free_port
from tests.servers.postgres import PostgresServer
from tests.waiting import until

CHECKOUT = Path(__file__).resolve().parents[2]
SILOS = ("ash", "birch", "cedar")
ACCOUNTS = {name: f"fedrec-e2e-{name}" for name in ("hub", *SILOS)}
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
            [self.python, "-m", module, *command],
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
                [self.python, "-m", module, *command],
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


@pytest.fixture(scope="session")
def accounts() -> Iterator[None]:
    """Make sure of four Unix accounts without a login. Accounts that were created here are removed."""
    if os.geteuid() != 0:
        pytest.skip("Only root can start silos under other accounts; run make e2e as root.")
    if shutil.which("useradd") is None:
        pytest.skip("useradd is missing, so that silos can have no accounts.")
    made = []
    for account in ACCOUNTS.values():
        try:
            pwd.getpwnam(account)
        except KeyError:
            subprocess.run(
                ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/bin/false", account],
                check=True,
            )
            made.append(account)
    yield
    for account in made:
        subprocess.run(["userdel", account], check=True)


@pytest.fixture(scope="session")
def python(folders: Path) -> str:
    """Return an interpreter that the accounts can run and that imports this checkout and its libraries."""
    told = []
    for find in (lambda: Path(sys.executable), lambda: _copied_interpreter(folders / "python")):
        candidate = find()
        try:
            done = subprocess.run(
                [candidate, "-c", "import prefect.server.api.server, lightfm, cryptography, flows.cli"],
                **as_account(HUB),
                cwd=folders,
                env={**python_variables(folders), "HOME": str(folders / HUB)},
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError as error:
            told.append(f"{candidate}: {error}")
            continue
        if done.returncode == 0:
            return str(candidate)
        told.append(f"{candidate}: {done.stderr.strip()[-300:]}")
    pytest.skip("No interpreter serves other accounts: " + "; ".join(told))


def _copied_interpreter(folder: Path) -> Path:
    """Copy this interpreter and its standard library, because accounts cannot enter their folder."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    unwanted = shutil.ignore_patterns("site-packages", "test", "__pycache__", "*.a")
    shutil.copytree(sysconfig.get_path("stdlib"), folder / "lib" / version, ignore=unwanted)
    (folder / "bin").mkdir()
    copy = folder / "bin" / version
    shutil.copy(Path(sys.executable).resolve(), copy)
    for library in (Path(sys.base_prefix) / "lib").glob("libpython*.so*"):
        shutil.copy(library, folder / "lib")
    return copy


@pytest.fixture(scope="session")
def folders(accounts: None) -> Iterator[Path]:
    """Return the parties' folders, each closed to the others, and an exchange with a part for each silo."""
    # Not below pytest's own folder, because no other account may enter that one.
    root = Path(tempfile.mkdtemp(prefix="fedrec-e2e-"))
    try:
        root.chmod(0o755)
        tables = small_tables(root / "tables")
        (root / "tables").chmod(0o700)
        partition = root / "tables" / "partition"
        make_partition(
            tables["interactions"], partition, ByColumn("town"), items=tables["items"], users=tables["users"]
        )
        for party in ACCOUNTS:
            (root / party / "home").mkdir(parents=True)
        shutil.copy(tables["items"], root / HUB / "items.csv")
        for silo in SILOS:
            (root / silo / "data").mkdir()
            (root / "exchange" / "silos" / silo).mkdir(parents=True)
            rows = pd.read_parquet(partition / "clients" / silo / "interactions.parquet")
            rows.to_csv(root / silo / "data" / "sales.csv", index=False)
            _own(root / "exchange" / "silos" / silo, silo, 0o755)
        for party in ACCOUNTS:
            _own(root / party, party, 0o700)
        _own(root / "exchange", HUB, 0o755, deep=False)
        yield root
    finally:
        if not os.environ.get("FEDREC_E2E_KEEP"):
            shutil.rmtree(root)


@pytest.fixture(scope="session")
def stack(folders: Path, python: str, postgres_server: PostgresServer) -> Iterator[Stack]:
    """Run Prefect's server and a worker of the coordinator and of each silo, all enrolled and trusted."""
    stack = Stack(folders, python, free_port(), postgres_server, postgres_server.create_database())
    try:
        stack.start(
            "server",
            HUB,
            *("server", "start", "--host", "127.0.0.1", "--port", str(stack.port)),
            module="prefect",
        )
        until(lambda: _answers(f"{stack.api_url}/health"), 120, what=f"the start of {stack.root}/server.log")
        for silo in SILOS:
            _enrol(stack, silo)
        stack.deploy("manual", stack.config("manual"))
        began = time.monotonic()
        for silo in SILOS:
            stack.serve(silo)
        until(lambda: all(map(stack.polls, SILOS)), what="the start of the silos' workers")
        stack.deadline_s = deadline_after(time.monotonic() - began)
        stack.start("worker-hub", HUB, "worker", "start", "--pool", "fedrec", module="prefect")
        yield stack
    finally:
        for name in reversed(list(stack.running)):
            stack.stop(name)


def _enrol(stack: Stack, silo: str) -> None:
    file = stack.home(silo).root / "silo.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "name": silo,
                "prefect_api_url": stack.api_url,
                "exchange": stack.exchange.as_uri(),
                "source": {"folder": str(stack.root / silo / "data")},
            }
        )
    )
    _own(file, silo, 0o600)
    key = stack.json_of(silo, "silo", "enrol", "--name", silo)["public_key"]
    # Carried by hand from the silo to the coordinator, because neither can read the other's folder.
    pem = stack.root / f"{silo}.pem"
    pem.write_text(key)
    stack.json_of(HUB, "trust", silo, str(pem))


def _own(path: Path, party: str, mode: int, *, deep: bool = True) -> None:
    account = ACCOUNTS[party]
    for each in [path, *(path.rglob("*") if deep else ())]:
        shutil.chown(each, account, account)
        each.chmod(mode if each.is_dir() else mode & 0o666)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
