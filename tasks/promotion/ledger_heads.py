"""The heads of the decision ledger in MLflow: for each model, the last entry about it.

A chain of hashes alone does not show that its tail was cut off, so a second place remembers where it ended.
The heads are tags of one experiment: MLflow reads these at the same cost whatever the number of versions,
while for the tags of a registered model it scans all versions.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from models.ledger.chain import Entry
from tasks.local.home import Home
from tasks.tracking import registry
from tasks.tracking.experiments import find_or_create

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "fedrec decisions"
_NOTE = (
    "Remembers, in its tags, the last entry of the decision ledger about each model. `fedrec audit --verify` "
    "compares them with the ledger. It has no runs."
)
_PREFIX = "fedrec.ledger.head"


def heads(client: MlflowClient, model_name: str | None = None) -> dict[str, str]:
    """Return model name -> its last ledger entry, "seq:hash".

    Args:
        client: of MLflow.
        model_name: the only model to read; None for all models.
    """
    if model_name is None:
        return _tags_of_models(client) | _kept(client)
    kept = _kept(client)
    return {model_name: kept[model_name]} if model_name in kept else _tags_of_models(client, model_name)


def remember(home: Home, client: MlflowClient, entry: Entry) -> None:
    """Store this entry as the last one about its model.

    An experiment that was deleted in MLflow's UI is restored, because the heads are evidence.
    """
    name = entry.body["model_name"]
    experiment = find_or_create(client, home, EXPERIMENT, note=_NOTE)
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    client.set_experiment_tag(experiment.experiment_id, head_tag(name), f"{entry.seq}:{entry.hash} {name}")


def head_tag(model_name: str) -> str:
    """Return the key of a model's tag. It is hashed, as keys refuse some characters of names."""
    return f"{_PREFIX}.{hashlib.sha256(model_name.encode()).hexdigest()[:32]}"


def _kept(client: MlflowClient) -> dict[str, str]:
    """Return the heads of all models in the experiment. A tag that names no model goes by its own key."""
    experiment = client.reads.experiment(EXPERIMENT)
    found = {}
    for key, value in ({} if experiment is None else experiment.tags).items():
        if key.startswith(_PREFIX):
            head, _, name = value.partition(" ")
            found[name if key == head_tag(name) else key] = head
    return found


def _tags_of_models(client: MlflowClient, model_name: str | None = None) -> dict[str, str]:
    """Return the heads that earlier releases stored as tags of registered models."""
    found = registry.model_tags(client, model_name)
    return {name: tags[_PREFIX] for name, tags in found.items() if _PREFIX in tags}
