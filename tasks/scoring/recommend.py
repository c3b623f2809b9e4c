"""Recommendations for one history from a registered version: verified bytes, one fold-in, and titles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from models.federation.model import ItemModel
from models.recommenders.families.registry import answering
from models.recommenders.items.features import ItemFeatures
from models.recommenders.items.titles import TitleIndex
from models.recommenders.scoring.recommender import Recommender
from tasks.local.home import Home
from tasks.tracking import registry
from tasks.tracking.registered_round import RegisteredRound

if TYPE_CHECKING:
    import pandas as pd


def recommender_of(found: RegisteredRound) -> Recommender:
    """Return a recommender over a loaded version; see `recommender_over`.

    Raises:
        CorruptArtifact: the version's bytes are not a model.
        CatalogMismatch: the model's item rows are from another catalogue than the items.
    """
    return recommender_over(found.model().items, *found.item_names, lambda: found.items)


def recommender_over(
    model: ItemModel, ids: Sequence[str], titles: Sequence[str], catalog: Callable[[], pd.DataFrame]
) -> Recommender:
    """Return a recommender over the items of a model.

    Args:
        model: a model of any family.
        ids, titles: of the items, in the order of the model's rows.
        catalog: returns the items with their features. It is called if the model needs them.
    """
    scorer = answering(model).scorer(model, lambda: ItemFeatures.of(catalog()).matrix())
    return Recommender(scorer, ids, titles)


def answer(
    home: Home,
    history: str,
    k: int,
    *,
    model_name: str | None = None,
    version: str = registry.CHAMPION,
    exclude: str = "",
    items: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the k best items for a history, in the form that `fedrec recommend` prints.

    Items that the model does not know are left out, and listed as unknown.

    Args:
        home: contains the registry.
        history: titles or ids, separated by commas.
        k: number of items.
        model_name: required only if several models are registered.
        version: a version number or an alias.
        exclude: further titles or ids that must not be recommended.
        items: further titles or ids of the history, one in each.

    Raises:
        NotFound: there is no such model or version, or nothing is registered or promoted yet.
        InvalidInput: a title is ambiguous, or the model knows no item of the history.
    """
    client = registry.open_registry(home)
    name = registry.resolve_model_name(client, model_name)
    found = registry.load_version(client, name, version)
    recommender = recommender_of(found)
    index = TitleIndex.of(recommender.item_ids, recommender.titles)
    liked = index.require_known(index.named(history, items))
    unwanted = index.named(exclude)
    rows = list(liked.rows)
    return {
        "model_name": name,
        "version": found.version,
        "model_sha256": found.sha256,
        "history": [{"item_id": recommender.item_ids[row], "title": recommender.titles[row]} for row in rows],
        "unknown": list(liked.unknown),
        "notes": [*liked.notes, *unwanted.notes],
        "recommendations": [asdict(item) for item in recommender.recommend(rows, k, unwanted.rows)],
    }
