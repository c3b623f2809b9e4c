"""The features of a partition's items."""

from __future__ import annotations

from models.recommenders.base.family import Features
from models.recommenders.items.features import ItemFeatures
from tasks.datasets.partition_reader import Partition, read_items


def item_features(partition: Partition) -> Features:
    """Return a function that works out the features of the partition's items, for families that want them."""
    return lambda: ItemFeatures.of(read_items(partition)).matrix()
