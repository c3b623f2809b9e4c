"""Reads a registered round, and verifies the SHA-256 of everything that it reads."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

import yaml

from models.errors import CatalogMismatch, CorruptArtifact, NotFound
from models.federation.model import GlobalModel
from models.kernel.catalog import ItemCatalog
from models.kernel.clipping import clipped
from tasks.datasets.item_table import item_names, read_item_table
from tasks.exchange.codec import decode_model
from tasks.messages.job_result import JobResult
from tasks.messages.round_record import EvaluatedRound, record_digest

if TYPE_CHECKING:
    import pandas as pd

_RESTORE_TAGS = "fedrec promote --version N restores the tags of the champion N; or use another version."
_RESTORE_ARTEFACT = "Restore the artefact from a copy, or use another version."


@dataclass(frozen=True)
class RegisteredRound:
    """A registry version whose bytes match the SHA-256 in its record and in the registry.

    Attributes:
        version: number in the registry.
        record: the round's `round.json`.
        model_bytes: the model as `tasks.exchange.codec.encode_model` wrote it.
        item_data: the catalogue in row order, as the bytes of an item table (`tasks.datasets.item_table`).
        tags: the version's tags in the registry.
    """

    version: int
    record: EvaluatedRound
    model_bytes: bytes
    item_data: bytes
    tags: dict[str, str]

    @property
    def sha256(self) -> str:
        """Return the SHA-256 of the model's bytes."""
        return self.record.model_sha256

    @cached_property
    def items(self) -> pd.DataFrame:
        """Return the catalogue, as `ItemFeatures.of` takes it."""
        return read_item_table(self.item_data)

    @cached_property
    def item_names(self) -> tuple[list[str], list[str]]:
        """Return the ids and the titles of the items."""
        return item_names(self.item_data)

    def model(self) -> GlobalModel:
        """Return the decoded model.

        Raises:
            CorruptArtifact: the bytes are not a global model.
            CatalogMismatch: its item rows are from another catalogue than `items`.
        """
        model = decode_model(self.model_bytes, f"The model of version {self.version}")
        catalog = ItemCatalog.of(self.item_names[0])
        digest = catalog.digest
        if model.catalog_digest != digest or len(model.items) != len(catalog):
            raise CatalogMismatch(
                f"The model of version {self.version} has {len(model.items)} rows of catalogue "
                f"{model.catalog_digest[:12]}, but its run's items are {len(catalog)} of {digest[:12]}.",
                version=self.version,
            )
        return model


def round_folder(round_: int) -> str:
    """Return the folder of a round among the artefacts of its run."""
    return f"rounds/{round_:04d}"


def run_artifacts(source: str) -> str:
    """Return the URI of the artefacts of the run that a round's folder belongs to: see `round_folder`."""
    return source.rstrip("/").rpartition("/")[0].rpartition("/")[0]


def read_record(
    source: str, tags: Mapping[str, str], where: str, tracking_uri: str | None = None
) -> EvaluatedRound:
    """Return the `round.json` of a version's artefact folder, verified against the registry's tag.

    Args:
        source: URI of the artefact folder.
        tags: the version's tags.
        where: the version's name in errors.
        tracking_uri: URI of the server that serves artefacts of the scheme mlflow-artifacts; None to use
            MLflow's own settings.

    Raises:
        NotFound: the file is missing.
        CorruptArtifact: it does not match the tag, the tag is missing, or its format is unknown.
    """
    missing = [key for key in ("fedrec.sha256", "fedrec.manifest") if key not in tags]
    if missing:
        raise CorruptArtifact(
            f"{where} lacks the tag {' and '.join(missing)} of a committed round: it was not "
            "made by fedrec, or the tag was deleted in MLflow.",
            next_step=_RESTORE_TAGS,
        )
    path, promised = f"{source}/round.json", tags["fedrec.manifest"]
    try:
        value = json.loads(_read(path, tracking_uri))
    except ValueError as error:
        raise CorruptArtifact(f"{where}: {path} is not JSON: {error}.", path=path) from error
    actual = record_digest(value)
    if actual != promised:
        raise CorruptArtifact(
            f"{where}: its record {path} has digest {actual}, but its tag fedrec.manifest says "
            f"{clipped(promised)!r}; one of them was changed after the round.",
            next_step=_RESTORE_TAGS,
            path=path,
            actual=actual,
            promised=promised,
        )
    return EvaluatedRound.of_json(value, f"{where}: {path}", "Use another version.")


def recorded_origin(source: str, tracking_uri: str | None = None) -> tuple[str, int] | None:
    """Return the job and the round in a `round.json`; None if the file is missing or is not a record.

    Nothing verifies the file, so this tells which round a version is of, and not that it is unchanged.
    """
    try:
        value = json.loads(_read(f"{source}/round.json", tracking_uri))
        record = EvaluatedRound.of_json(value, source, "")
    except (NotFound, CorruptArtifact, ValueError):
        return None
    return record.job_id, record.round


def read_round(
    version: int,
    source: str,
    tags: Mapping[str, str],
    where: str,
    tracking_uri: str | None = None,
) -> RegisteredRound:
    """Return a version with its record, model and items, all verified.

    Args:
        version: its number.
        source: URI of the round's artefact folder, `rounds/NNNN` of the run, which contains the items.
        tags: the version's tags.
        where: the version's name in errors.
        tracking_uri: as in `read_record`.

    Raises:
        NotFound: an artefact is missing.
        CorruptArtifact: record, model or items do not match their SHA-256.
    """
    record = read_record(source, tags, where, tracking_uri)
    data = _read(f"{source}/model.safetensors", tracking_uri)
    actual = hashlib.sha256(data).hexdigest()
    for origin, promised in (("record", record.model_sha256), ("registry", tags["fedrec.sha256"])):
        if actual != promised:
            raise CorruptArtifact(
                f"{where}: its model has SHA-256 {actual}, but its {origin} says {promised}.",
                next_step=_RESTORE_TAGS if origin == "registry" else _RESTORE_ARTEFACT,
                version=version,
                actual=actual,
                promised=promised,
            )
    item_data = _read(f"{run_artifacts(source)}/catalog/items.parquet", tracking_uri)
    found = RegisteredRound(
        version=version, record=record, model_bytes=data, item_data=item_data, tags=dict(tags)
    )
    digest = ItemCatalog.of(found.item_names[0]).digest
    if digest != record.catalog_digest:
        raise CorruptArtifact(
            f"{where}: its run's items have digest {digest}, but its record says {record.catalog_digest}.",
            version=version,
        )
    return found


def read_result(artifacts: str, where: str, tracking_uri: str | None = None) -> JobResult | None:
    """Return the result of a run's job; None until the job is finished and MLflow has it.

    Args:
        artifacts: URI of the run's artefacts.
        where: the version's name in errors.
        tracking_uri: as in `read_record`.

    Raises:
        CorruptArtifact: the file is not a result, or its format is unknown.
    """
    path = f"{artifacts}/result.json"
    try:
        value = json.loads(_read(path, tracking_uri))
    except NotFound:
        return None
    except ValueError as error:
        raise CorruptArtifact(f"{where}: {path} is not JSON: {error}.", path=path) from error
    return JobResult.of_json(value, f"{where}: {path}")


def read_config(artifacts: str, where: str, tracking_uri: str | None = None) -> dict[str, Any]:
    """Return the configuration of a run's job, as JSON values.

    Args:
        artifacts, where, tracking_uri: as in `read_result`.

    Raises:
        NotFound: the run has none.
        CorruptArtifact: the file contains no keys and values.
    """
    path = f"{artifacts}/config.yaml"
    try:
        value = yaml.safe_load(_read(path, tracking_uri))
    except yaml.YAMLError as error:
        raise CorruptArtifact(f"{where}: {path} is not YAML.", path=path) from error
    if not isinstance(value, dict):
        raise CorruptArtifact(f"{where}: {path} contains no keys and values.", path=path)
    return value


def _read(uri: str, tracking_uri: str | None) -> bytes:
    """Return an artefact's bytes, read from its file if it is local and through MLflow otherwise."""
    parsed = urlparse(uri)
    if parsed.scheme not in ("", "file"):
        return _download(uri, tracking_uri)
    path = Path(unquote(parsed.path) if parsed.scheme else uri)
    if not path.is_file():
        raise NotFound(f"Artefact {uri} is missing.", uri=uri)
    return path.read_bytes()


def _download(uri: str, tracking_uri: str | None) -> bytes:
    from mlflow.artifacts import download_artifacts, list_artifacts
    from mlflow.exceptions import MlflowException

    # MLflow leaves a folder behind unless it is given one.
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = download_artifacts(artifact_uri=uri, dst_path=folder, tracking_uri=tracking_uri)
        except MlflowException as error:
            # MLflow raises the same error for a missing file and an unreachable store; the store knows which.
            parent, _, name = uri.rpartition("/")
            there = list_artifacts(artifact_uri=parent, tracking_uri=tracking_uri)
            if name in [each.path.rpartition("/")[2] for each in there]:
                raise
            raise NotFound(f"Artefact {uri} is missing.", uri=uri) from error
        return Path(found).read_bytes()
