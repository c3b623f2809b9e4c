"""A real PostgreSQL server for tests, on a free port of 127.0.0.1 and a data folder of its own.

A pytest plugin: `postgres_server` is one server for the session, `postgres_url` an empty database for one
test. Outside pytest `running_postgres()` is a context manager with the same server.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.servers.free_port import free_port

ADMIN = "postgres"
INSTALL = "infra/install-test-servers.sh installs it on Debian"

# No data have to survive a power cut here. Without these settings a test would wait for the disk.
_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
}


class PostgresMissing(Exception):
    """No PostgreSQL server can be started on this machine."""


@dataclass(frozen=True)
class PostgresServer:
    """A PostgreSQL server.

    Attributes:
        programs: folder of `pg_ctl`.
        folder: holds its data and its log.
        port: of 127.0.0.1.
        password: of the administrator `postgres`.
        run_as: the Unix account that the server runs under. None means the current one.
        started_s: seconds from an empty folder until it answered.
    """

    programs: Path
    folder: Path
    port: int
    password: str
    run_as: str | None
    started_s: float = 0.0

    def url(self, database: str, *, driver: str = "psycopg", user: str = ADMIN, password: str = "") -> str:
        """Return the SQLAlchemy URL of a database, with the password of its account."""
        password = password or self.password
        return f"postgresql+{driver}://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str = "") -> str:
        """Create an empty database, with a random name unless one is given. Return its name."""
        name = name or f"test_{uuid.uuid4().hex[:12]}"
        self.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return name

    def drop_database(self, name: str) -> None:
        """Drop the database, whoever is connected to it."""
        self.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def execute(self, statement: str | sql.Composed, database: str = ADMIN) -> None:
        """Carry out the statement as the administrator, in a transaction of its own."""
        with self.connect(database) as connection:
            connection.execute(statement)

    def connect(self, database: str) -> psycopg.Connection:
        """Return the administrator's connection, which commits every statement."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=ADMIN,
            password=self.password,
            dbname=database,
            autocommit=True,
        )

    def dump(self, database: str) -> str:
        """Return the whole database as SQL."""
        url = self.url(database).replace("+psycopg", "")
        done = subprocess.run(
            [str(self.programs / "pg_dump"), "--dbname", url], capture_output=True, text=True, check=True
        )
        return done.stdout

    def start(self) -> None:
        """Start the server. Wait until it answers."""
        options = " ".join([f"-p {self.port}", *(f"-c {name}={value}" for name, value in _SETTINGS.items())])
        self._pg_ctl("start", "--wait", "--log", str(self.folder / "log"), "--options", options)

    def stop(self, *, mode: str = "fast") -> None:
        """Stop the server. `mode` is pg_ctl's: smart, fast, or immediate as in a crash."""
        self._pg_ctl("stop", "--wait", "--mode", mode)

    def _pg_ctl(self, action: str, *arguments: str) -> None:
        data = ["--pgdata", str(self.folder / "data")]
        _run([str(self.programs / "pg_ctl"), action, *data, *arguments], self.run_as)


@contextlib.contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Run a server for the length of the block.

    Raises:
        PostgresMissing: it is not installed, or this is root and there is no account `postgres`.
    """
    programs, run_as = find_programs(), _account()
    # Not below pytest's own temporary folder, because only its owner may enter that one.
    folder = Path(tempfile.mkdtemp(prefix="fedrec-postgres-"))
    try:
        if run_as:
            shutil.chown(folder, run_as)
        before = time.perf_counter()
        server = PostgresServer(programs, folder, free_port(), secrets.token_hex(12), run_as)
        _initialise(server)
        server.start()
        try:
            yield replace(server, started_s=time.perf_counter() - before)
        finally:
            server.stop(mode="immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def find_programs() -> Path:
    """Return the folder of `initdb` and `pg_ctl`, of the newest version if there are several.

    Raises:
        PostgresMissing: it is not installed.
    """
    # Debian keeps them out of PATH, in one folder per version.
    versions = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()]
    for folder in sorted(versions, key=lambda path: int(path.parent.name), reverse=True):
        if (folder / "initdb").is_file():
            return folder
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    raise PostgresMissing(f"PostgreSQL's initdb is not installed; {INSTALL}")


def _account() -> str | None:
    if os.geteuid() != 0:
        return None
    try:
        # PostgreSQL refuses to run as root.
        return pwd.getpwnam(ADMIN).pw_name
    except KeyError:
        raise PostgresMissing(f"PostgreSQL does not run as root, and there is no account {ADMIN!r}") from None


def _initialise(server: PostgresServer) -> None:
    password_file = server.folder / "password"
    password_file.touch(mode=0o600)
    password_file.write_text(server.password, encoding="ascii")
    if server.run_as:
        shutil.chown(password_file, server.run_as)
    options = ["--username", ADMIN, "--pwfile", str(password_file), "--auth", "scram-sha-256"]
    options += [
        "--encoding",
        "UTF8",
        "--locale",
        "C.UTF-8",
        "--no-sync",
        "--pgdata",
        str(server.folder / "data"),
    ]
    _run([str(server.programs / "initdb"), *options], server.run_as)


def _run(command: list[str], run_as: str | None) -> None:
    # A file, not a pipe: the server inherits it and would keep a pipe open.
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd="/",
            user=run_as,
            group=pwd.getpwnam(run_as).pw_gid if run_as else None,
            extra_groups=[] if run_as else None,
            timeout=120,
            check=False,
        )
        output.seek(0)
        if done.returncode:
            raise RuntimeError(f"{command[0]} ended with {done.returncode}: {output.read()}")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Run one PostgreSQL server for the session. Skip the test if there can be none."""
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(running_postgres())
        except PostgresMissing as missing:
            pytest.skip(str(missing))
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """Return the SQLAlchemy URL (psycopg, with password) of an empty database. It is dropped afterwards."""
    name = postgres_server.create_database()
    yield postgres_server.url(name)
    postgres_server.drop_database(name)
