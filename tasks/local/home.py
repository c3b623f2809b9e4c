"""The one folder below which fedrec keeps everything it writes, `FEDREC_HOME`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from models.errors import InvalidConfig

# `fedrec env` prints one line for each variable, and databases and servers are given addresses in UTF-8.
_UNUSABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True)
class Home:
    """The folders below `FEDREC_HOME`, all absolute.

    Everything a federation writes is below `root`. Deleting `root` deletes all state; copying it copies all
    state.
    """

    root: Path

    @property
    def data(self) -> Path:
        """Fetched and partitioned data sets."""
        return self.root / "data"

    @property
    def silos(self) -> Path:
        """Each client's private folder: user embeddings never leave it."""
        return self.root / "silos"

    @property
    def jobs(self) -> Path:
        """One folder per training job: journal, contract results, report."""
        return self.root / "jobs"

    @property
    def tuning(self) -> Path:
        """One folder per study of `fedrec tune`: its trials."""
        return self.root / "tuning"

    @property
    def exchange(self) -> Path:
        """Content-addressed objects that travel between coordinator and clients."""
        return self.root / "exchange"

    @property
    def serving(self) -> Path:
        """What is published to serving processes, one folder per registered model."""
        return self.root / "serving"

    @property
    def mlflow(self) -> Path:
        """MLflow's database and artefacts."""
        return self.root / "mlflow"

    @property
    def mlflow_database(self) -> Path:
        """MLflow's database, unless the environment names another one or a server."""
        return self.mlflow / "mlflow.db"

    @property
    def prefect(self) -> Path:
        """Prefect's database, profiles and results."""
        return self.root / "prefect"

    @property
    def privacy(self) -> Path:
        """One file per privacy account: what jobs spent of its budget."""
        return self.root / "privacy"

    @property
    def ledger(self) -> Path:
        """The file of promotion decisions, one JSON object per line."""
        return self.root / "ledger" / "decisions.jsonl"


def current_home() -> Home:
    """Return the home that the environment variable `FEDREC_HOME` names.

    Without it, the home is `.fedrec` in the checkout, or in the account's folder where fedrec is installed.

    Raises:
        InvalidConfig: its path has a control character or a byte that is not UTF-8.
    """
    checkout = Path(__file__).resolve().parents[2]
    beside = checkout if (checkout / "pyproject.toml").is_file() else Path("~")
    root = Path(os.environ.get("FEDREC_HOME") or beside / ".fedrec").expanduser().resolve()
    if _UNUSABLE.search(str(root)):
        raise InvalidConfig(
            f"FEDREC_HOME is {str(root)!r}, which has a line break, another control character or a byte that "
            "is not UTF-8.",
            next_step="Set FEDREC_HOME to another folder.",
        )
    return Home(root)
