"""The databases that the migrations of the installed Prefect and MLflow make, as SQL in this folder.

A test fails while they differ from the stored ones, but for the order of a table's constraints: Prefect's
migrations make another one each time. After a change of these packages, update the files with:

    python -m tasks.local.schemas.snapshots
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import get_args

from tasks.local.schemas.stored import FOLDER, Package, title

_UPGRADE: dict[Package, list[str]] = {
    "prefect": ["-m", "prefect", "server", "database", "upgrade", "-y"],
    "mlflow": ["-c", "import mlflow; mlflow.MlflowClient().search_registered_models()"],
}
# MLflow adds it to a database that lacks it, with the time and the folder for its artefacts.
_LEFT_OUT = "DELETE FROM experiments"


def migrated(package: Package, folder: Path) -> Path:
    """Create a package's database in a folder by the package's own migrations, and return its file."""
    path = folder / f"{package}.db"
    own = {
        "PREFECT_HOME": str(folder),
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{path}",
        "MLFLOW_TRACKING_URI": f"sqlite:///{path}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "1",
    }
    subprocess.run(  # noqa: S603  # our own command
        [sys.executable, *_UPGRADE[package]],
        cwd=folder,
        env=os.environ | own,
        check=True,
        capture_output=True,
    )
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        if package == "mlflow":
            database.execute(_LEFT_OUT)
    return path


def as_sql(package: Package, path: Path) -> str:
    """Return a database as the text of its file."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        return "\n".join([title(package), *database.iterdump(), ""])


def main() -> None:
    """Write each package's database to its file."""
    for package in get_args(Package):
        with tempfile.TemporaryDirectory() as folder:
            text = as_sql(package, migrated(package, Path(folder)))
        (FOLDER / f"{package}.sql").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
