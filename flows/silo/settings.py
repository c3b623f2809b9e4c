"""A silo's own settings: its name, the source of its data, and what may leave it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

from flows.settings.passwords import holds_password
from flows.settings.settings_file import Section, absolute_folder, read_yaml, validated
from models.errors import InvalidConfig
from tasks.datasets.partition_reader import CLIENT_ID
from tasks.datasets.repeats import Repeats
from tasks.datasets.source import FolderSource, Source
from tasks.datasets.sql_source import PASSWORD_VARIABLE, SqlSource
from tasks.local.home import Home, current_home

if TYPE_CHECKING:
    from tasks.silos.perform_step import Silo

SETTINGS_VARIABLE = "FEDREC_SILO_SETTINGS"

Answer = Literal["check", "update", "evaluation"]


class SqlSection(Section):
    """A query against a database."""

    url: str = Field(min_length=1, description="SQLAlchemy URL, without a password.")
    query: str = Field(min_length=1, description="Returns user_id, item_id[, rating][, timestamp].")


class SourceSection(Section):
    """The source of the silo's interactions: a folder or a query."""

    folder: str | None = Field(
        None, min_length=1, description="Folder of CSV, TSV or Parquet files, all in one format."
    )
    sql: SqlSection | None = Field(None, description="A query against a database.")
    repeats: Repeats | None = Field(
        None,
        description="Which of a user's repeated interactions with an item counts: latest, first, or sum, "
        "which adds their ratings. They are refused if empty.",
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> SourceSection:
        if (self.folder is None) == (self.sql is None):
            raise ValueError("give exactly one of folder and sql")
        return self


class PolicySection(Section):
    """What may leave the silo."""

    may_leave: tuple[Answer, ...] = Field(
        ("check", "update", "evaluation"), description="Kinds of answers that may leave."
    )
    max_update_bytes: int = Field(100_000_000, ge=1, description="Larger objects do not leave.")
    min_users: int = Field(1, ge=1, description="With fewer users, no update and no figures leave.")
    min_cohort: int = Field(3, ge=3, description="The silo takes part in no secure sum of fewer members.")
    plain: bool = Field(
        True, description="Whether updates and figures may also leave outside of secure sums, readable."
    )
    max_epsilon: float | None = Field(
        None,
        gt=0,
        description="The silo takes part only in jobs whose noise promises each user at most this epsilon, "
        "with delta 1e-5.",
    )
    publish: tuple[Literal["benefit"], ...] = Field(
        (), description="What leaves readable beside secure sums: benefit, the comparison at a job's end."
    )


class SiloSettings(Section):
    """Everything that a silo's owner decides."""

    name: str = Field(pattern=f"^{CLIENT_ID.pattern}$", description="The silo's client id, in lower case.")
    prefect_api_url: str | None = Field(
        None,
        pattern=r"^https?://\S+$",
        description="Address of the coordinator's Prefect API; empty for a silo behind a gateway.",
    )
    exchange: str | None = Field(
        None,
        pattern=r"^[a-z][a-z0-9+.-]*://\S+$",
        description="URL of the folder shared with the coordinator; empty for a silo behind a gateway.",
    )
    source: SourceSection
    policy: PolicySection = PolicySection()
    keep_jobs: int = Field(
        10,
        ge=1,
        description="Number of newest jobs whose snapshots and answers are kept; others are deleted.",
    )

    @field_validator("exchange")
    @classmethod
    def _whole_path(cls, url: str | None) -> str | None:
        if url and url.startswith("file://") and not url.startswith("file:///"):
            raise ValueError("a file URL has three slashes before an absolute path: file:///srv/exchange")
        return url

    @model_validator(mode="after")
    def _both_or_neither(self) -> SiloSettings:
        if (self.prefect_api_url is None) != (self.exchange is None):
            raise ValueError("give both prefect_api_url and exchange, or neither for a silo behind a gateway")
        return self

    @property
    def has_gateway(self) -> bool:
        """Whether the silo gets its orders from a gateway."""
        return self.prefect_api_url is None

    def silo(self, home: Home) -> Silo:
        """Return the silo of this home. Behind a gateway its exchange is a folder of its own."""
        # Imported here, because `fedrec silo serve` reads the settings without doing steps.
        from tasks.silos.agent import exchange_folder
        from tasks.silos.perform_step import Silo

        return Silo(
            home=home,
            name=self.name,
            exchange_url=self.exchange or exchange_folder(home.root).as_uri(),
            source=self.data_source(),
            policy=self.policy,
            min_users=self.policy.min_users,
            keep_jobs=self.keep_jobs,
            min_cohort=self.policy.min_cohort,
            plain=self.policy.plain,
            publish=self.policy.publish,
            max_epsilon=self.policy.max_epsilon,
        )

    def data_source(self) -> Source:
        """Return the source of the silo's interactions."""
        if self.source.sql:
            return SqlSource(self.source.sql.url, self.source.sql.query, self.source.repeats)
        return FolderSource(absolute_folder(self.source.folder or ""), self.source.repeats)


def default_settings_path() -> Path:
    """Return the path of a silo's settings: the one that its worker was started with, or silo.yaml."""
    return Path(os.environ.get(SETTINGS_VARIABLE) or current_home().root / "silo.yaml")


def load_silo_settings(path: Path | None = None) -> SiloSettings:
    """Return the settings of the silo on this machine.

    Args:
        path: the YAML file; None for `FEDREC_HOME/silo.yaml`.

    Raises:
        InvalidConfig: the file cannot be read, a key is unknown, a value is out of range, or it holds a
            password. No message shows a password.
    """
    path = path or default_settings_path()
    raw = read_yaml(
        path,
        "The silo's settings",
        next_step="Write the file like infra/silo.example.yaml, or name another one with --settings FILE.",
    )
    _refuse_passwords(raw, str(path), "")
    return validated(SiloSettings, raw, str(path), private=("source",))


def _refuse_passwords(raw: Mapping[str, Any], origin: str, prefix: str) -> None:
    # Before any other check of the values, so that no other error message can show a password.
    for key, value in raw.items():
        if isinstance(value, Mapping):
            _refuse_passwords(value, origin, f"{prefix}{key}.")
        elif "password" in str(key).lower() or (isinstance(value, str) and holds_password(value)):
            raise InvalidConfig(
                f"{origin}: {prefix}{key} contains a password, which a settings file may not contain.",
                next_step=f"Set a database's password in the environment variable {PASSWORD_VARIABLE}, or "
                "PostgreSQL's in ~/.pgpass; Prefect's in PREFECT_API_AUTH_STRING; the exchange's where its "
                "storage library reads it (S3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile).",
                key=f"{prefix}{key}",
            )
