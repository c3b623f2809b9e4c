"""The database of the orders, a PostgreSQL server, is stopped in the middle of a job and started again."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from models.ledger import chain
from tasks.gateway.access_record import access_record
from tests.faults.conftest import Federation
from tests.faults.gateway_silos import behind_gateway
from tests.faults.real_silos import NAMES, Meanwhile, hung_training, run
from tests.servers.postgres import PostgresServer
from tests.waiting import until


@pytest.fixture
def orders_url(
    postgres_server: PostgresServer, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Return the address of an empty database, whose password is in a file."""
    passwords = tmp_path / "pgpass"
    passwords.touch(mode=0o600)
    passwords.write_text(
        f"127.0.0.1:{postgres_server.port}:*:*:{postgres_server.password}\n", encoding="ascii"
    )
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    return postgres_url.replace(f":{postgres_server.password}@", "@")


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("away_s", [8, pytest.param(60, marks=pytest.mark.minutes)])
def test_a_database_of_orders_that_is_away_costs_no_round(
    away_s: int, tmp_path: Path, federation: Federation, postgres_server: PostgresServer, orders_url: str
) -> None:
    """The runner, the gateway and the agents come back by themselves, whatever they are at."""
    with behind_gateway(tmp_path, federation, database=orders_url) as silos:
        silos.start(*NAMES)

        def hear(round_: int) -> Meanwhile | None:
            if round_ == 1:
                return away_while_a_silo_trains()
            if round_ == 2:
                postgres_server.stop()  # the orders of round 3 are placed while it is away
                return Meanwhile(start_again)
            return None

        def away_while_a_silo_trains() -> Meanwhile:
            hung = hung_training(silos.home("cedar"), "cedar")

            def stop_and_start() -> None:
                until(hung.is_read, what="cedar's training")
                postgres_server.stop()
                time.sleep(away_s)
                postgres_server.start()
                hung.release()

            return Meanwhile(stop_and_start)

        def start_again() -> None:
            time.sleep(2.0)
            postgres_server.start()

        config = silos.config(deadline_s=300)
        result = run(silos, config, hear)
        silos.federation.check(config, result, {})
        chain.verify(access_record(federation.home).read().entries, ledger="gateway's record")
        assert '"event":"database"' in (silos.gateway.folder / "log").read_text()
        # Its order counts all the time, so its work is not ended.
        assert "Withdrawn" not in (silos.root / "cedar.log").read_text()
