"""The items that a candidate and earlier champions recommend, for the exposure gate.

The coordinator has no users' histories. So the newest champion makes some up: for each item a user of this
item and of those that the champion recommends to such users. All versions answer the same histories.
Histories of single items would not do. They are little like users, and an item that liars lifted among users
hardly shows in their lists.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import TYPE_CHECKING

from models.errors import CatalogMismatch, CorruptArtifact, NotFound
from models.promotion.champions import Standing
from models.promotion.evidence import ShownItems
from models.promotion.exposure import Exposure, ExposurePolicy, probe_items
from models.promotion.exposure_gate import LIST_LENGTH
from tasks.promotion.versions import existence
from tasks.tracking import registry

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from mlflow import MlflowClient

    from models.recommenders.scoring.recommender import Recommender

# Earlier champions, of which two or more tell how far honest trainings differ.
EARLIER = 5
# Share of the candidate's items that a version must have to be compared with.
_SHARED = 0.5
# Of a made-up history, and of the item for which it is made. With a weight of 1, LightFM would recommend
# nearly the same items for all.
_LENGTH, _WEIGHT = 21, 10.0


def shown_items(
    client: MlflowClient, model_name: str, version: int, found: Standing, policy: ExposurePolicy
) -> ShownItems:
    """Return how often a candidate and earlier champions recommend the candidate's items.

    Each version makes one list for each made-up history, with the code that serves. Histories hold items
    that all versions have. An earlier version may list only items that the candidate has, so that one which
    is gone takes no place.

    Args:
        client: the registry.
        model_name: the registered model.
        version: the candidate.
        found: the champions of the model. Champions that were rolled back are not among them.
        policy: sets the largest number of lists.
    """
    import numpy as np

    errors = (CorruptArtifact, CatalogMismatch, NotFound, np.linalg.LinAlgError)
    try:
        loaded = registry.load_version(client, model_name, version)
        ids, titles = loaded.item_names
    except errors as error:
        return ShownItems(error=str(error))
    catalogues, left_out = {}, dict[int, str]()
    for each in _earlier(client, model_name, found):
        try:
            own = _item_ids(client, model_name, each, loaded.record.catalog_digest, ids)
        except errors as error:
            left_out[each] = str(error)
            continue
        if len(set(own) & set(ids)) < _SHARED * len(ids):
            left_out[each] = "it has less than half of the items"
        else:
            catalogues[each] = own
    histories: list[list[str]] = []
    earlier = dict[int, Exposure]()
    shared = [ids, *catalogues.values()]
    for each in catalogues:
        try:
            recommender = _recommender(client, model_name, each)
        except errors as error:
            left_out[each] = str(error)
            continue
        histories = histories or _made_up(recommender, shared, policy.lists)
        earlier[each] = _exposure(recommender, ids, histories)
    if not earlier:
        return ShownItems(ids, titles, left_out=left_out)
    try:
        recommender = _recommender(client, model_name, version)
    except errors as error:
        return ShownItems(error=str(error))
    return ShownItems(ids, titles, _exposure(recommender, ids, histories), earlier, left_out)


def _earlier(client: MlflowClient, model_name: str, found: Standing) -> list[int]:
    """Return the newest champions that exist, the newest first."""
    exists = existence(client, model_name)
    versions = list[int]()
    for each in reversed(found.stack):
        if len(versions) == EARLIER:
            break
        if each.version not in versions and exists(each):
            versions.append(each.version)
    return versions


def _item_ids(
    client: MlflowClient, model_name: str, version: int, digest: str, ids: Sequence[str]
) -> Sequence[str]:
    """Return the item ids of a version: those of the catalogue with this digest, or else its own."""
    if registry.load_record(client, model_name, version).catalog_digest == digest:
        return ids
    return registry.load_version(client, model_name, version).item_names[0]


def _recommender(client: MlflowClient, model_name: str, version: int) -> Recommender:
    """Return the recommender of a version. Only one is in memory at a time."""
    from tasks.scoring.recommend import recommender_of

    return recommender_of(registry.load_version(client, model_name, version))


def _made_up(champion: Recommender, catalogues: Sequence[Sequence[str]], most: int) -> list[list[str]]:
    """Return at most `most` histories (item ids) of items that all catalogues have.

    A model whose answers take several passes over the items makes as many times fewer.
    """
    from models.recommenders.scoring.lists import made_up_histories

    rows = {item_id: row for row, item_id in enumerate(champion.item_ids)}
    firsts = [rows[item_id] for item_id in probe_items(catalogues, max(1, most // champion.scorer.passes))]
    allowed = _mask(champion, set[str].intersection(*map(set, catalogues)))
    found = made_up_histories(champion.scorer, firsts, _LENGTH, weight=_WEIGHT, allowed=allowed)
    return [[champion.item_ids[row] for row in history] for history in found]


def _exposure(recommender: Recommender, ids: Sequence[str], histories: Sequence[Sequence[str]]) -> Exposure:
    """Return how many of a version's lists hold each of these items."""
    import numpy as np

    from models.recommenders.scoring.lists import times_listed

    rows = {item_id: row for row, item_id in enumerate(recommender.item_ids)}
    counts = times_listed(
        recommender.scorer,
        [[rows[item_id] for item_id in history] for history in histories],
        LIST_LENGTH,
        allowed=_mask(recommender, set(ids)),
    )
    own = np.array([counts[rows[item_id]] if item_id in rows else 0 for item_id in ids])
    return Exposure(own, len(histories))


def _mask(recommender: Recommender, ids: Container[str]) -> npt.NDArray[np.bool_]:
    """Return (items,) which items of a version have one of these ids."""
    import numpy as np

    return np.array([item_id in ids for item_id in recommender.item_ids])
