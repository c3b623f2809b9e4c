"""The stored schemas are those of the installed Prefect and MLflow, and make new databases only."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, get_args

import pytest

from tasks.local.schemas import snapshots, stored

PACKAGES = get_args(stored.Package)


def content(path: Path) -> dict[str, Any]:
    """Return what is in a database: the objects' SQL as sets of lines, and the columns and rows in order.

    Prefect's migrations make the constraints of a table in another order each time.
    """
    with closing(sqlite3.connect(path)) as database:
        objects = database.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
        found: dict[str, Any] = {}
        for kind, name, sql in objects:
            lines = sorted(line.strip().rstrip(",") for line in (sql or "").splitlines())
            columns = database.execute(f"PRAGMA table_xinfo('{name}')").fetchall()
            rows = database.execute(f"SELECT * FROM '{name}'").fetchall() if kind == "table" else []  # noqa: S608
            found[name] = (kind, lines, columns, rows)
        return found


@pytest.mark.parametrize("package", PACKAGES)
def test_a_database_of_the_stored_schema_is_what_the_migrations_make(package, tmp_path):
    made = tmp_path / "made.db"
    assert stored.create(package, made)
    migrated = snapshots.migrated(package, tmp_path)
    assert len(content(migrated)) > 20
    assert content(made) == content(migrated), (
        f"The schema of {package} changed: python -m tasks.local.schemas.snapshots"
    )
    assert stored.is_current(package, migrated)


@pytest.mark.parametrize("package", PACKAGES)
def test_one_of_several_at_once_creates_the_database_and_leaves_nothing_else(package, tmp_path):
    path = tmp_path / "new.db"
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: stored.create(package, path), range(8)))
    assert sum(made) == 1
    assert stored.is_current(package, path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["new.db", "new.db-wal", "new.db-journal"])
def test_a_database_or_what_one_left_behind_stays_as_it_is(name, tmp_path):
    (tmp_path / name).write_bytes(b"kept")
    assert not stored.create("prefect", tmp_path / "new.db")
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {name: b"kept"}


@pytest.mark.parametrize("package", PACKAGES)
def test_another_version_of_the_package_makes_and_migrates_its_own_database(package, tmp_path, monkeypatch):
    path = tmp_path / "home" / "new.db"
    path.parent.mkdir()
    stored.create(package, path)
    # The version's beginning, as 3.9 is of 3.9.1.
    other = ".".join(stored.title(package).split()[-1].split(".")[:2])
    packages = tmp_path / "packages"
    (packages / f"{package}-{other}.dist-info").mkdir(parents=True)
    (packages / f"{package}-{other}.dist-info" / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {package}\nVersion: {other}\n"
    )
    monkeypatch.syspath_prepend(packages)
    assert not stored.is_current(package, path)
    assert not stored.create(package, tmp_path / "home" / "second.db")


def test_a_database_that_is_old_missing_or_none_at_all_is_not_current(tmp_path):
    path: Path = tmp_path / "new.db"
    assert not stored.is_current("mlflow", path)
    path.write_bytes(b"no database")
    assert not stored.is_current("mlflow", path)
    path.unlink()
    stored.create("mlflow", path)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'earlier'")
    assert not stored.is_current("mlflow", path)
