"""The environment that Prefect, MLflow and Great Expectations run in.

They read their settings when they are imported, so call `apply` before that.
"""

from __future__ import annotations

import os
from pathlib import Path

from models.errors import InvalidConfig
from tasks.local.disk_full import is_disk_full
from tasks.local.home import Home, current_home
from tasks.local.server_note import running_server


def settings(home: Home) -> dict[str, str]:
    """Return environment variables that keep all state below `home` and switch telemetry off."""
    return {
        "FEDREC_HOME": str(home.root),
        # One thread per LightFM call: clients run in parallel, and a single thread is reproducible.
        "OMP_NUM_THREADS": "1",
        "DO_NOT_TRACK": "1",
        "TQDM_DISABLE": "1",
        "MPLCONFIGDIR": str(home.root / "matplotlib"),
        "MLFLOW_TRACKING_URI": _mlflow_database(home),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # Training does not wait for an unreachable server: `tasks/tracking/outbox_sender.py` sends it later.
        # MLflow's own retries would register a round twice when only the response was lost.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PREFECT_HOME": str(home.prefect),
        "PREFECT_PROFILES_PATH": str(home.prefect / "profiles.toml"),
        **_prefect_database(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        "PREFECT_LOGGING_LEVEL": "ERROR",
        # A job has thousands of short task runs. Written in batches, they leave the processor to training.
        # The interval must be whole seconds: the server reads 0.5 as 0 and then loops without a pause.
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "50",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
        "GX_ANALYTICS_ENABLED": "false",
    }


def _mlflow_database(home: Home) -> str:
    path = home.mlflow_database
    # Behind "sqlite:///", MLflow takes the path for one without escapes and makes its folder.
    return _quoted_url("sqlite+pysqlite", path) if _needs_quoting(path) else f"sqlite:///{path}"


def _prefect_database(home: Home) -> dict[str, str]:
    """Return the address of Prefect's database if Prefect itself would get it wrong."""
    path = home.prefect / "prefect.db"
    return {_PREFECT_DATABASE: _quoted_url("sqlite+aiosqlite", path)} if _needs_quoting(path) else {}


def _needs_quoting(path: Path) -> bool:
    return not set("%?").isdisjoint(str(path))


def _quoted_url(driver: str, path: Path) -> str:
    # Imported where it is needed, because it takes time.
    from sqlalchemy.engine import URL

    return URL.create(driver, database=str(path)).render_as_string()


_PREFECT_DATABASE = "PREFECT_API_DATABASE_CONNECTION_URL"
# What a user may override: a server, a database, a folder or a log level.
OVERRIDABLE = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_HTTP_REQUEST_TIMEOUT",
    "PREFECT_LOGGING_LEVEL",
    "MPLCONFIGDIR",
    _PREFECT_DATABASE,
)


_applied: dict[str, str] = {}
PREFECT_API_URL = "PREFECT_API_URL"
# The server of `fedrec up` that this process, or the one that started it, has found. It may have ended since.
_FOUND = "FEDREC_FOUND_SERVER"


def prefect_api_url() -> str | None:
    """Return the API of the Prefect server that the environment names; `apply` names that of `fedrec up`."""
    return os.environ.get(PREFECT_API_URL) or None


def apply() -> Home:
    """Set the process environment to `settings` of the current home, make its folder and return the home.

    It also names the server of `fedrec up` if it runs, unless the user names one with PREFECT_API_URL.

    Raises:
        InvalidConfig: the folder cannot be made.
    """
    home = current_home()
    try:
        home.mlflow.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if is_disk_full(error):
            raise
        raise InvalidConfig(
            f"The home {home.root} cannot be made: {error.strerror}.",
            next_step="Set FEDREC_HOME to a folder in which you may write.",
        ) from error
    for name, value in settings(home).items():
        # A value that an earlier call set for another home was not set by the user.
        if name not in OVERRIDABLE or os.environ.get(name) in (None, _applied.get(name, value)):
            os.environ[name] = _applied[name] = value
    _name_server(home)
    return home


def _name_server(home: Home) -> None:
    if os.environ.get(PREFECT_API_URL) not in (None, "", os.environ.get(_FOUND)):
        return
    found = running_server(home)
    for name in (PREFECT_API_URL, _FOUND):
        os.environ.pop(name, None)
        if found is not None:
            os.environ[name] = found.api_url
