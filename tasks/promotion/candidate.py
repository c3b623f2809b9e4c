"""The version that a promotion is about if nobody names one."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from models.errors import CorruptArtifact
from tasks.local.home import Home
from tasks.promotion.versions import identity
from tasks.tracking import registry

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from tasks.messages.job_result import BestRound


def default_candidate(home: Home, client: MlflowClient, model_name: str) -> tuple[int, str | None]:
    """Return the best round by validation of the job of the newest evaluated version, and why it is that.

    Training may make a model worse from some round on, so the last round need not be the best. If this home
    does not have the job's result, as for an unfinished job, it is the newest evaluated version.

    Args:
        home: contains the jobs.
        client: the registry.
        model_name: the registered model.

    Returns:
        The version; and a sentence if it is not the newest evaluated one, otherwise None.

    Raises:
        NotFound: no version has been evaluated.
    """
    newest = registry.require_evaluated(client, model_name)
    job_id = identity(newest, registry.tags_of(client, model_name, newest)).job_id
    best = _best_round(home, job_id)
    if best is None or best.version is None or best.version == newest:
        return newest, None
    tags = registry.find_tags(client, model_name, best.version)
    # Its number may belong to another model of this name, if the first one was deleted.
    if tags is None or identity(best.version, tags).job_id != job_id:
        return newest, None
    return best.version, (
        f"Version {best.version}, round {best.round} of job {job_id}, has the best validation {best.metric} "
        f"of the job, {best.value:.4f}; version {newest} has {best.last_value:.4f}."
    )


def _best_round(home: Home, job_id: str) -> BestRound | None:
    from tasks.jobs.journal import Journal

    # A tag can be edited, so it is no path.
    if not home.jobs.is_dir() or job_id not in {each.name for each in home.jobs.iterdir()}:
        return None
    with contextlib.suppress(CorruptArtifact):
        result = Journal(home.jobs / job_id).result()
        return result.best_round if result else None
    return None
