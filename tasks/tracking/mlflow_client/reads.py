"""What fedrec reads of the registry, from MLflow's client or straight from MLflow's SQLite file.

MLflow's client and its store for SQLite take 2.7 seconds of processor time to import, a read of the file some
milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from models.errors import TrackingUnavailable

if TYPE_CHECKING:
    from mlflow import MlflowClient

# The newest migration of MLflow 3.17. A file with another schema is left to MLflow.
SCHEMA = "dc11669786a5"
# Numbers of results a page.
_PAGE = 10
_MOST_MODELS = 1000


@dataclass(frozen=True)
class ModelEntry:
    """A registered model.

    Attributes:
        name: of the model.
        tags: by key.
        aliases: alias -> number of the version.
    """

    name: str
    tags: dict[str, str]
    aliases: dict[str, int]


@dataclass(frozen=True)
class VersionEntry:
    """A version of a registered model.

    Attributes:
        version: its number.
        source: URI of its artefacts.
        run_id: of the run that made it.
        created_at: milliseconds since 1970.
        tags: by key.
    """

    version: int
    source: str
    run_id: str
    created_at: int
    tags: Mapping[str, str]


@dataclass(frozen=True)
class ExperimentEntry:
    """An experiment, also a deleted one.

    Attributes:
        experiment_id, name: of the experiment.
        lifecycle_stage: "active" or "deleted".
        tags: by key.
    """

    experiment_id: str
    name: str
    lifecycle_stage: str
    tags: Mapping[str, str]


class RegistryReads(Protocol):
    """The questions that commands put to the registry."""

    def models(self, name: str | None = None, tag: tuple[str, str] | None = None) -> Iterator[ModelEntry]:
        """Yield the registered models of this name, with this key and value of a tag; without them, all."""

    def version(self, model_name: str, version: int) -> VersionEntry | None:
        """Return a version; None if it does not exist."""

    def newest_versions(self, model_name: str) -> Iterator[VersionEntry]:
        """Yield the versions of a model, newest first. Each step costs the same whatever their number."""

    def version_of_alias(self, model_name: str, alias: str) -> int | None:
        """Return the version that an alias names; None without such an alias, version or model."""

    def experiment(self, name: str) -> ExperimentEntry | None:
        """Return the experiment of this name, which may be deleted; None if there is none."""


@dataclass(frozen=True)
class ClientReads:
    """Reads through MLflow's client."""

    client: MlflowClient

    def models(self, name: str | None = None, tag: tuple[str, str] | None = None) -> Iterator[ModelEntry]:
        filters = [] if name is None else [f"name = {quoted(name)}"]
        filters += [] if tag is None else [f"tags.`{tag[0]}` = {quoted(tag[1])}"]
        found = all_pages(
            self.client.search_registered_models, " and ".join(filters) or None, max_results=_MOST_MODELS
        )
        for each in found:
            aliases = {alias: int(version) for alias, version in each.aliases.items()}
            yield ModelEntry(each.name, dict(each.tags), aliases)

    def version(self, model_name: str, version: int) -> VersionEntry | None:
        from mlflow.exceptions import MlflowException

        try:
            return _entry(self.client.get_model_version(model_name, str(version)))
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None

    def newest_versions(self, model_name: str) -> Iterator[VersionEntry]:
        # A search for a tag would read the tags of all versions.
        found = all_pages(
            self.client.search_model_versions,
            f"name = {quoted(model_name)}",
            max_results=_PAGE,
            order_by=["version_number DESC"],
        )
        return map(_entry, found)

    def version_of_alias(self, model_name: str, alias: str) -> int | None:
        from mlflow.exceptions import MlflowException

        try:
            return int(self.client.get_model_version_by_alias(model_name, alias).version)
        except MlflowException as error:
            if error.error_code not in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"):
                raise
            return None

    def experiment(self, name: str) -> ExperimentEntry | None:
        found = self.client.get_experiment_by_name(name)
        if found is None:
            return None
        return ExperimentEntry(str(found.experiment_id), found.name, found.lifecycle_stage, dict(found.tags))


@dataclass(frozen=True)
class FileReads:
    """Reads from the SQLite file of an MLflow whose schema is known.

    Every read is a transaction of its own, so it sees what other processes have written.

    Attributes:
        path: of the file.
        lock_timeout_s: seconds to wait while another process writes.
    """

    path: Path
    lock_timeout_s: float = 20.0

    def models(self, name: str | None = None, tag: tuple[str, str] | None = None) -> Iterator[ModelEntry]:
        names = self._of_models("name FROM registered_models", name)
        found = {each: ModelEntry(each, {}, {}) for (each,) in names}
        # Another process may have registered a model since then.
        for each, key, value in self._of_models("name, key, value FROM registered_model_tags", name):
            if each in found:
                found[each].tags[key] = value
        for each, alias, version in self._of_models(
            "name, alias, version FROM registered_model_aliases", name
        ):
            if each in found:
                found[each].aliases[alias] = version
        return (each for each in found.values() if tag is None or each.tags.get(tag[0]) == tag[1])

    def version(self, model_name: str, version: int) -> VersionEntry | None:
        return next(self._versions(model_name, "= ?", version), None)

    def newest_versions(self, model_name: str) -> Iterator[VersionEntry]:
        below = 1 << 62
        while (newest := next(self._versions(model_name, "< ?", below), None)) is not None:
            yield newest
            below = newest.version

    def version_of_alias(self, model_name: str, alias: str) -> int | None:
        found = dict(self._about("alias, version FROM registered_model_aliases", model_name))
        return found.get(alias)

    def experiment(self, name: str) -> ExperimentEntry | None:
        for id_, stage in self._about("experiment_id, lifecycle_stage FROM experiments", name):
            tags = self._rows("SELECT key, value FROM experiment_tags WHERE experiment_id = ?", id_)
            return ExperimentEntry(str(id_), name, stage, dict(tags))
        return None

    def _versions(self, model_name: str, which: str, version: int) -> Iterator[VersionEntry]:
        """Yield the newest of the versions that compare with `version` as the SQL in `which` says."""
        found = self._about(
            "version, source, run_id, creation_time FROM model_versions",
            model_name,
            f"AND current_stage != 'Deleted_Internal' AND version {which} ORDER BY version DESC LIMIT 1",
            version,
        )
        for number, source, run_id, created_at in found:
            tags = self._about("key, value FROM model_version_tags", model_name, "AND version = ?", number)
            yield VersionEntry(number, source, run_id, created_at, dict(tags))

    def _of_models(self, what: str, name: str | None) -> list[Any]:
        if name is not None:
            return self._about(what, name)
        return self._rows(f"SELECT {what} WHERE {{workspace}} ORDER BY name")

    def _about(self, what: str, name: str, further: str = "", *values: object) -> list[Any]:
        return self._rows(f"SELECT {what} WHERE {{workspace}} AND name = ? {further}", name, *values)

    def _rows(self, query: str, *values: object) -> list[Any]:
        """Return the rows of a query.

        Raises:
            TrackingUnavailable: the file is locked or damaged.
        """
        try:
            with contextlib.closing(_connected(self.path, self.lock_timeout_s)) as database:
                return database.execute(query.format(workspace="workspace = 'default'"), values).fetchall()
        except sqlite3.Error as error:
            raise TrackingUnavailable(
                f"MLflow does not answer at {self.path}: {error}.",
                next_step="Nothing was half done. Once its database can be read, run the same command again.",
                uri=str(self.path),
            ) from error


def reads_of_file(path: Path) -> FileReads | None:
    """Return the reads of an SQLite file of MLflow; None if only MLflow can tell what is in it."""
    if os.environ.get("MLFLOW_ENABLE_WORKSPACES"):
        return None
    reads = FileReads(path)
    try:
        with contextlib.closing(_connected(path, reads.lock_timeout_s)) as database:
            found = database.execute("SELECT version_num FROM alembic_version").fetchall()
    except sqlite3.Error:
        return None
    return reads if found == [(SCHEMA,)] else None


def all_pages(search: Any, *filters: Any, **arguments: Any) -> Iterator[Any]:
    """Yield the results of all pages of one of MLflow's searches.

    Args:
        search: a method of the client such as `search_runs`, which returns one page.
        filters, arguments: its arguments.
    """
    token = None
    while True:
        page = search(*filters, **arguments, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def quoted(text: str) -> str:
    """Return the text as a literal of MLflow's search language."""
    return f'"{text}"' if "'" in text else f"'{text}'"


def _entry(found: Any) -> VersionEntry:
    """Return MLflow's version as an entry."""
    return VersionEntry(
        int(found.version), found.source, found.run_id, found.creation_timestamp, dict(found.tags)
    )


def _connected(path: Path, lock_timeout_s: float) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=lock_timeout_s)
