"""Silos of other organisations: each has its own account and network, in which there is the gateway alone."""

from __future__ import annotations

import contextlib
import json
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from psycopg import errors, sql

from tasks.local.home import Home
from tests.e2e.federation import ACCOUNTS, HUB, SILOS, Stack, answers, own
from tests.servers.closed_network import closed_network, may_make_namespaces
from tests.servers.free_port import free_port
from tests.servers.postgres import PostgresServer
from tests.waiting import until

pytestmark = pytest.mark.timeout(900)
# Role and database of the orders. The role's password is in the coordinator's own folder.
ORDERS, PASSWORD = "e2e_gateway", "of this test"
SERVING_PORT = 8080  # in a silo's own network


@dataclass
class Apart(Stack):
    """A coordinator with a gateway, and silos that reach nothing else.

    Attributes:
        gateway_port: of the gateway.
        networks: path of each silo's network namespace.
    """

    gateway_port: int = 0
    networks: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The gateway's address."""
        return f"https://127.0.0.1:{self.gateway_port}"

    @property
    def orders(self) -> str:
        """The address of the database of orders. Its password is in the coordinator's pgpass file."""
        return f"postgresql+psycopg://{ORDERS}@127.0.0.1:{self.postgres.port}/{ORDERS}"

    def home(self, party: str) -> Home:
        return Home(self.root / party / "apart")

    def environment(self, party: str) -> dict[str, str]:
        return super().environment(party) | {"TMPDIR": str(self.root / party)}

    def entering(self, party: str) -> list[str]:
        if party == HUB:
            return []
        account = pwd.getpwnam(ACCOUNTS[party])
        network = f"--net={self.networks[party]}"
        return ["nsenter", network, f"--setgid={account.pw_gid}", f"--setuid={account.pw_uid}"]

    def as_party(self, party: str) -> dict[str, Any]:
        given = super().as_party(party)
        # Only root may enter a network; nsenter then takes the silo's account.
        return given if party == HUB else {"cwd": given["cwd"], "env": given["env"], "umask": 0o022}

    def config(self, name: str, **sections: dict[str, Any]) -> dict[str, Any]:
        runner = {"kind": "gateway", "silos": list(SILOS), "orders": self.orders}
        return super().config(name, **{"runner": runner, **sections})

    def serve(self, silo: str) -> None:
        self.start(f"agent-{silo}", silo, "silo", "start", "--silo", silo)

    def python_of(self, party: str, code: str) -> subprocess.CompletedProcess[str]:
        """Run code as the party, in its network."""
        return subprocess.run(
            [*self.entering(party), self.python, "-c", code],
            **self.as_party(party),
            capture_output=True,
            text=True,
            check=False,
        )

    def recommended(self, silo: str, user_id: str) -> dict[str, Any] | None:
        """Return what the silo's service recommends to one of its users; None while it has no model."""
        address = f"http://127.0.0.1:{SERVING_PORT}/v1/users/{user_id}/recommendations"
        done = self.python_of(
            silo,
            "from urllib.request import Request, urlopen\n"
            f"question = Request({address!r}, b'{{}}', {{'content-type': 'application/json'}})\n"
            "print(urlopen(question).read().decode())",
        )
        found: dict[str, Any] | None = json.loads(done.stdout) if done.returncode == 0 else None
        return found


@pytest.fixture(scope="module")
def orders_database(postgres_server: PostgresServer) -> None:
    """Make the orders' database, and a role that can read no other."""
    role = sql.Identifier(ORDERS)
    postgres_server.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(PASSWORD)))
    postgres_server.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(role, role))


@pytest.fixture(scope="module")
def apart(
    folders: Path, python: str, postgres_server: PostgresServer, orders_database: None
) -> Iterator[Apart]:
    """Run Prefect's server, a worker, the gateway, and an agent for each silo."""
    if shutil.which("nsenter") is None or not may_make_namespaces():
        pytest.skip("Only root with CAP_SYS_ADMIN can give each silo a network of its own.")
    stack = Apart(
        folders,
        python,
        free_port(),
        postgres_server,
        postgres_server.create_database(),
        gateway_port=free_port(),
    )
    with contextlib.ExitStack() as ending:
        ending.callback(lambda: [stack.stop(name) for name in reversed(list(stack.running))])
        for party in (HUB, *SILOS):
            stack.home(party).root.mkdir()
            own(stack.home(party).root, party, 0o700)
        for silo in SILOS:
            stack.networks[silo] = ending.enter_context(closed_network(stack.gateway_port))
        pgpass = folders / HUB / ".pgpass"
        pgpass.write_text(f"127.0.0.1:{postgres_server.port}:{ORDERS}:{ORDERS}:{PASSWORD}\n")
        own(pgpass, HUB, 0o600)
        prefect = ("server", "start", "--host", "127.0.0.1", "--port", str(stack.port))
        stack.start("apart-prefect", HUB, *prefect, module="prefect")
        gateway = ("--port", str(stack.gateway_port), "--self-signed", "127.0.0.1", "--orders", stack.orders)
        stack.start("gateway", HUB, "gateway", *gateway)
        until(lambda: answers(f"{stack.api_url}/health"), 120, what="the start of Prefect")
        for silo in SILOS:
            join(stack, silo)
            stack.serve(silo)
        stack.deploy("manual", stack.config("manual"))
        stack.start("apart-worker", HUB, "worker", "start", "--pool", "fedrec", module="prefect")
        yield stack


def join(stack: Apart, silo: str) -> None:
    """Invite the silo, and let it join."""
    home = stack.home(silo).root
    (home / "silo.yaml").write_text(
        yaml.safe_dump({"name": silo, "source": {"folder": str(stack.root / silo / "data")}})
    )
    invitation = stack.root / f"{silo}-invitation.json"
    # The coordinator may not write where the silo reads, so root carries the invitation over.
    made = stack.home(HUB).root / invitation.name
    stack.json_of(HUB, "invite", silo, "--url", stack.url, "--out", str(made), "--orders", stack.orders)
    shutil.move(made, home / invitation.name)
    own(home, silo, 0o600)
    home.chmod(0o700)
    until(
        lambda: stack.run(silo, "silo", "join", str(home / invitation.name), "--yes").returncode == 0,
        120,
        what=f"{silo} to join",
    )


def test_a_silo_reaches_the_gateway_alone(apart: Apart) -> None:
    def reaches(silo: str, host: str, port: int) -> bool:
        return (
            apart.python_of(
                silo, f"import socket; socket.create_connection(({host!r}, {port}), 5)"
            ).returncode
            == 0
        )

    for silo in SILOS:
        assert reaches(silo, "127.0.0.1", apart.gateway_port)
        assert not reaches(silo, "127.0.0.1", apart.port)
        assert not reaches(silo, "127.0.0.1", apart.postgres.port)
        interfaces = apart.python_of(silo, "import socket; print(socket.if_nameindex())")
        assert "eth" not in interfaces.stdout
        # What the gateway keeps is closed to it too.
        assert apart.python_of(silo, f"open({str(apart.home(HUB).root / 'gateway')!r})").returncode != 0


def test_the_orders_role_can_read_no_other_database(apart: Apart) -> None:
    import psycopg

    def connect(database: str) -> psycopg.Connection:
        return psycopg.connect(
            host="127.0.0.1", port=apart.postgres.port, user=ORDERS, password=PASSWORD, dbname=database
        )

    with connect(ORDERS) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() is not None
    with connect(apart.database) as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute("SELECT count(*) FROM flow_run")


def test_a_run_started_in_prefect_gives_the_local_model(apart: Apart, local: dict[str, Any]) -> None:
    result = apart.by_hand("manual")

    assert result["status"] == "finished"
    assert [each["accepted"] for each in result["rounds"]] == [list(SILOS)] * 2
    assert [each["model_sha256"] for each in result["rounds"]] == [
        each["model_sha256"] for each in local["rounds"]
    ]
    assert result["final"]["federated"] == local["final"]["federated"]
    for silo in SILOS:
        egress = apart.json_of(silo, "silo", "egress", "--job", result["job_id"], "--verify")
        assert (egress["verified"], egress["refused"]) == (True, [])
        (own,) = apart.json_of(silo, "silo", "benefit")["jobs"]
        assert (own["job_id"], own["round"]) == (result["job_id"], 2)


def test_what_is_promoted_is_served_in_a_silo(apart: Apart) -> None:
    promoted = apart.json_of(HUB, "promote", "--model", "manual")
    assert promoted["promoted"] is True
    apart.start("publisher", HUB, "publish", "--watch", "--model", "manual")
    pointer = apart.home(HUB).serving / "manual" / "current.json"
    until(pointer.exists, what="the publisher")
    apart.start("serve-ash", "ash", "silo", "serve", "--port", str(SERVING_PORT))
    user_id = (apart.root / "ash" / "data" / "sales.csv").read_text().splitlines()[1].partition(",")[0]
    answer = until(lambda: apart.recommended("ash", user_id), what="the silo's service")
    assert answer["answered_from"] == "embedding"
    assert answer["model"]["version"] == promoted["version"]


def test_a_schedule_starts_the_job(apart: Apart, local: dict[str, Any]) -> None:
    assert apart.by_schedule("often")["model_sha256"] == local["model_sha256"]
