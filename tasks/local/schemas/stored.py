"""SQLite databases from stored schemas: a few milliseconds, where the packages' own migrations take seconds.

A schema is used only with the version of the package whose migrations made it. Other versions migrate.
"""

from __future__ import annotations

import contextlib
import sqlite3
from importlib.metadata import version
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from tasks.local.atomic import create_exclusively

Package = Literal["prefect", "mlflow"]
FOLDER = Path(__file__).parent
_TITLE = "-- The database of {package} {version}."


def title(package: Package) -> str:
    """Return the first line of the schema that the installed version of a package makes."""
    return _TITLE.format(package=package, version=version(package))


def create(package: Package, path: Path) -> bool:
    """Create a package's database, and return whether that was possible; otherwise the package creates it.

    It appears whole or not at all. Of several processes that call this at once, one creates it. A file that
    exists stays as it is.

    Args:
        package: whose schema the database gets.
        path: its file, in a folder that exists.
    """
    # SQLite would take what an earlier database left behind for a part of this one.
    if (schema := _schema(package)) is None or any(path.parent.glob(f"{path.name}*")):
        return False
    with contextlib.closing(_in_memory(schema)) as database, contextlib.suppress(FileExistsError):
        create_exclusively(path, database.serialize())
        return True
    return False


def is_current(package: Package, path: Path) -> bool:
    """Return whether a database is known to need no migration by the installed version of a package."""
    schema = _schema(package)
    if schema is None or not path.is_file():
        return False
    try:
        with (
            contextlib.closing(_in_memory(schema)) as new,
            contextlib.closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as found,
        ):
            return _revisions(new) == _revisions(found)
    except sqlite3.Error:
        return False


def _schema(package: Package) -> str | None:
    """Return the SQL of a new database; None for another version of the package than the installed one."""
    text = (FOLDER / f"{package}.sql").read_text(encoding="utf-8")
    return text if text.startswith(f"{title(package)}\n") else None


def _in_memory(schema: str) -> sqlite3.Connection:
    database = sqlite3.connect(":memory:")
    database.executescript(schema)
    return database


def _revisions(database: sqlite3.Connection) -> list[tuple[str]]:
    """Return Alembic's names of the newest migrations that a database has had."""
    return database.execute("SELECT version_num FROM alembic_version ORDER BY 1").fetchall()
