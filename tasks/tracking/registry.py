"""The model registry: one MLflow model version per committed round.

A version holds no pickle and no MLflow flavour: its source is the round's artefact folder with
`model.safetensors` and `round.json`. The item titles are stored once per run, in `catalog/items.parquet`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import NotFound
from models.kernel.clipping import clipped
from tasks.local.environment import settings
from tasks.local.home import Home
from tasks.local.schemas import stored
from tasks.tracking.mlflow_client.reads import ModelEntry, VersionEntry, quoted, reads_of_file

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from tasks.messages.round_record import EvaluatedRound
    from tasks.tracking.registered_round import RegisteredRound

CHAMPION = "champion"
PREVIOUS = "previous"
_KIND = "fedrec.kind"
_RECOMMENDER = "recommender"
_JOB = "fedrec.job"
_EVALUATED = "fedrec.evaluated"
# Of a version's number, which SQLite stores in 64 bits.
_MOST_DIGITS = 18


def client(home: Home) -> MlflowClient:
    """Return a client of the registry that `home` and the environment name. Create a missing database."""
    from tasks.tracking.mlflow_client.light import LightClient

    uri = tracking_uri(home)
    if uri == settings(home)["MLFLOW_TRACKING_URI"]:
        home.mlflow.mkdir(parents=True, exist_ok=True)
        stored.create("mlflow", home.mlflow_database)
    return LightClient(tracking_uri=uri, registry_uri=uri)


def open_registry(home: Home) -> MlflowClient:
    """Return a client of an existing registry, for commands that only read or promote.

    It imports MLflow at the first call that MLflow must answer. Reads of the home's own database need none.

    Raises:
        NotFound: there is no database yet.
    """
    from tasks.tracking.mlflow_client.lazy import RegistryClient

    uri = tracking_uri(home)
    own = home.mlflow_database if uri == settings(home)["MLFLOW_TRACKING_URI"] else None
    database = own or _database(uri)
    if database is not None and not database.exists():
        raise NotFound(
            f"Nothing is registered yet below {home.root}.",
            next_step="Train a model first, for example: fedrec train --config configs/ml-100k.yaml",
        )
    return RegistryClient(uri, reads_of_file(own) if own else None)


def ensure_registered_model(client: MlflowClient, model_name: str) -> None:
    """Create the registered model of this name, tagged as fedrec's, unless it exists."""
    from mlflow.exceptions import MlflowException

    # To create a model that exists already costs more than a look at its newest version: MLflow then loads
    # all versions.
    if _newest(client, model_name) is not None:
        return
    try:
        client.create_registered_model(
            model_name,
            tags={_KIND: _RECOMMENDER},
            description="A federated recommender; each version is one committed round.",
        )
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def register_round(
    client: MlflowClient, model_name: str, run_id: str, round_folder_uri: str, record: EvaluatedRound
) -> int:
    """Register a round as a version of the registered model, and return its number.

    This is one call to the registry with all tags, so that no version ever lacks a tag. Registering twice
    creates two versions: if a crash may have come in between, call `find_version` first.

    Args:
        client: the registry.
        model_name: a model that `ensure_registered_model` has created.
        run_id: the job's run.
        round_folder_uri: the artefact folder with `model.safetensors` and `round.json`.
        record: the round's record, as in `round.json`.
    """
    from tasks.tracking.descriptions import version_description

    made = client.create_model_version(
        name=model_name,
        source=round_folder_uri,
        run_id=run_id,
        tags=version_tags(record),
        description=version_description(record),
        await_creation_for=0,
    )
    return int(made.version)


def version_tags(record: EvaluatedRound) -> dict[str, str]:
    """Return the tags of a round's version, by which fedrec finds and verifies it."""
    from tasks.tracking.descriptions import privacy_facts

    breached = sorted(name for name, result in record.contracts.items() if result != "passed")
    return {
        _JOB: record.job_id,
        "fedrec.round": str(record.round),
        "fedrec.sha256": record.model_sha256,
        "fedrec.manifest": record.digest,
        "fedrec.catalog": record.catalog_digest,
        "fedrec.data": record.data_digest,
        "fedrec.contracts": f"breached: {', '.join(breached)}" if breached else "passed",
        **privacy_facts(record.privacy, "fedrec.privacy."),
        _EVALUATED: "true" if record.evaluation else "false",
    }


def find_version(client: MlflowClient, model_name: str, job_id: str, round: int) -> int | None:
    """Return the version of a job's round, or None if that round was not registered.

    The search reads the tags of all versions, so call it only after an interruption.
    """
    found = client.search_model_versions(
        f"name = {quoted(model_name)} and tags.`fedrec.job` = {quoted(job_id)} "
        f"and tags.`fedrec.round` = '{int(round)}'"
    )
    return min((int(version.version) for version in found), default=None)


def newest_evaluated(client: MlflowClient, model_name: str) -> int | None:
    """Return the newest version whose round was evaluated, or None."""
    newest_first = client.reads.newest_versions(model_name)
    return next((each.version for each in newest_first if each.tags.get(_EVALUATED) == "true"), None)


def require_evaluated(client: MlflowClient, model_name: str) -> int:
    """Return the newest version whose round was evaluated.

    Raises:
        NotFound: there is no such version.
    """
    version = newest_evaluated(client, model_name)
    if version is None:
        raise NotFound(
            f"No version of {model_name!r} has been evaluated yet, so none can be compared with a champion.",
            next_step="Let a training job finish: its last round is always evaluated.",
            model_name=model_name,
        )
    return version


def registered_models(client: MlflowClient) -> list[str]:
    """Return the names of the models that fedrec registered, sorted."""
    return sorted(model.name for model in _models(client))


def model_tags(client: MlflowClient, model_name: str | None = None) -> dict[str, dict[str, str]]:
    """Return model name -> tags of the registered model; of all models, or of one."""
    return {model.name: dict(model.tags) for model in client.reads.models(model_name)}


def resolve_model_name(client: MlflowClient, model_name: str | None) -> str:
    """Return the given name if it is registered, or the only one registered.

    Raises:
        NotFound: no model is registered, none has that name, or there are several and no name was given.
    """
    # Most calls name a model that has versions. Only the others read the list of all models.
    if model_name is not None and (newest := _newest(client, model_name)) and _JOB in newest.tags:
        return model_name
    names = registered_models(client)
    if model_name in names:
        return str(model_name)
    listed = ", ".join(names)
    if model_name is not None and model_tags(client, model_name):
        raise NotFound(
            f"Model {model_name!r} is in MLflow, but it is not tagged as one of fedrec's.",
            next_step=f"If fedrec registered it, set its tag {_KIND} to {_RECOMMENDER} in MLflow again.",
            model_name=model_name,
            names=names,
        )
    if not names:
        raise NotFound("No model is registered yet.", next_step="Train one first with fedrec train.")
    if model_name is not None:
        raise NotFound(
            f"No model {model_name!r} is registered; registered are: {listed}.",
            model_name=model_name,
            names=names,
        )
    if len(names) > 1:
        raise NotFound(
            f"{len(names)} models are registered: {listed}.",
            next_step="Choose one with --model NAME.",
            names=names,
        )
    return names[0]


def aliases(client: MlflowClient, model_name: str) -> dict[str, int]:
    """Return the version of each alias of a registered model."""
    models = client.reads.models(model_name)
    return {alias: version for model in models for alias, version in model.aliases.items()}


def all_aliases(client: MlflowClient) -> set[tuple[str, int]]:
    """Return (model name, version) for each alias of the models that fedrec registered."""
    return {(each.name, version) for each in _models(client) for version in each.aliases.values()}


def version_of_alias(client: MlflowClient, model_name: str, alias: str) -> int | None:
    """Return the version that an alias names; None without such an alias, version or model."""
    found: int | None = client.reads.version_of_alias(model_name, alias)
    return found


def resolve_version(client: MlflowClient, model_name: str, version_or_alias: int | str) -> int:
    """Return the version number behind a number or an alias.

    Raises:
        NotFound: there is no such alias.
    """
    if isinstance(version_or_alias, int):
        return version_or_alias
    if version_or_alias.isdecimal():
        if len(version_or_alias) > _MOST_DIGITS:
            raise NotFound(f"Model {model_name!r} has no version {clipped(version_or_alias)}.")
        return int(version_or_alias)
    found = version_of_alias(client, model_name, version_or_alias)
    if found is not None:
        return found
    if version_or_alias == CHAMPION and _newest(client, model_name) is None:
        raise NotFound(
            f"Model {model_name!r} has no champion: no version is registered yet, or all were deleted.",
            next_step="Train it with fedrec train.",
            model_name=model_name,
        )
    if version_or_alias == CHAMPION:
        raise NotFound(
            f"Model {model_name!r} has no champion.",
            next_step=f"Promote a version first with fedrec promote --model {model_name}, or name one with "
            "--version N.",
            model_name=model_name,
        )
    known = ", ".join(sorted(aliases(client, model_name))) or "none"
    raise NotFound(
        f"Model {model_name!r} has no alias {version_or_alias!r}; its aliases: {known}.",
        model_name=model_name,
        alias=version_or_alias,
    )


def find_entry(client: MlflowClient, model_name: str, version: int) -> VersionEntry | None:
    """Return what the registry says about a version; None if there is no such version."""
    if version >= 10**_MOST_DIGITS:
        return None
    found: VersionEntry | None = client.reads.version(model_name, version)
    return found


def find_tags(client: MlflowClient, model_name: str, version: int) -> dict[str, str] | None:
    """Return a version's tags; None if there is no such version."""
    found = find_entry(client, model_name, version)
    return None if found is None else dict(found.tags)


def tags_of(client: MlflowClient, model_name: str, version: int) -> dict[str, str]:
    """Return a version's tags.

    Raises:
        NotFound: there is no such version.
    """
    return dict(_version(client, model_name, version).tags)


def origin_of(client: MlflowClient, model_name: str, version: int) -> tuple[str, ...]:
    """Return what tells a version from a later one with its name and number.

    Raises:
        NotFound: there is no such version.
    """
    found = _version(client, model_name, version)
    return found.run_id, found.source, str(found.created_at), found.tags.get("fedrec.manifest", "")


def load_record(client: MlflowClient, model_name: str, version: int) -> EvaluatedRound:
    """Return a version's verified record.

    Raises:
        NotFound: there is no such version, or its record is missing.
        CorruptArtifact: the record does not match the digest in the registry.
    """
    from tasks.tracking.registered_round import read_record

    found = _version(client, model_name, version)
    where = f"Version {version} of {model_name!r}"
    return read_record(found.source, dict(found.tags), where, client.tracking_uri)


def load_version(client: MlflowClient, model_name: str, version_or_alias: int | str) -> RegisteredRound:
    """Return a version with its record, model and items, all verified.

    Raises:
        NotFound: there is no such version or alias, or an artefact of it is missing.
        CorruptArtifact: record, model or items do not match their SHA-256.
    """
    from tasks.tracking.registered_round import read_round

    version = resolve_version(client, model_name, version_or_alias)
    found = _version(client, model_name, version)
    where = f"Version {version} of {model_name!r}"
    return read_round(version, found.source, dict(found.tags), where, client.tracking_uri)


def load_config_of(client: MlflowClient, model_name: str, version_or_alias: int | str) -> dict[str, Any]:
    """Return the configuration that a version was trained with, as JSON values.

    Raises:
        NotFound: there is no such version or alias, or its run has no configuration.
        CorruptArtifact: the configuration is damaged.
    """
    from tasks.tracking.registered_round import read_config

    version = resolve_version(client, model_name, version_or_alias)
    where = f"The job of version {version} of {model_name!r}"
    return read_config(artifacts_of_job(client, model_name, version), where, client.tracking_uri)


def artifacts_of_job(client: MlflowClient, model_name: str, version: int) -> str:
    """Return the URI of the artefacts of the run that made a version, even if the run was deleted.

    Raises:
        NotFound: there is no such version.
    """
    from tasks.tracking.registered_round import run_artifacts

    return run_artifacts(_version(client, model_name, version).source)


def tracking_uri(home: Home) -> str:
    """Return the URI of the server or database that the environment names; by default the home's database."""
    return os.environ.get("MLFLOW_TRACKING_URI") or settings(home)["MLFLOW_TRACKING_URI"]


def _database(uri: str) -> Path | None:
    """Return the file that an SQLite URL names; None for another URL."""
    if not uri.startswith("sqlite"):
        return None
    from sqlalchemy.engine import make_url

    return Path(make_url(uri).database or "")


def _models(client: MlflowClient) -> Iterator[ModelEntry]:
    """Yield the models that fedrec registered."""
    found: Iterator[ModelEntry] = client.reads.models(tag=(_KIND, _RECOMMENDER))
    return found


def newest_version(client: MlflowClient, model_name: str) -> int | None:
    """Return the number of the newest version of a model; None if there is no version."""
    newest = _newest(client, model_name)
    return None if newest is None else newest.version


def _newest(client: MlflowClient, model_name: str) -> VersionEntry | None:
    """Return the newest version of a model; None if there is no version."""
    return next(client.reads.newest_versions(model_name), None)


def _version(client: MlflowClient, model_name: str, version: int) -> VersionEntry:
    found = find_entry(client, model_name, version)
    if found is None:
        raise NotFound(
            f"Model {model_name!r} has no version {version}.", model_name=model_name, version=version
        )
    return found
