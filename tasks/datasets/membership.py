"""What a coordinator knows about silos on other machines: their names and the shared catalogue, no data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from models.errors import InvalidInput
from tasks.datasets.catalog import check_catalog
from tasks.datasets.interaction_tables import Interactions
from tasks.datasets.item_table import FORMAT
from tasks.datasets.partition import write_partition
from tasks.datasets.partition_reader import CLIENT_ID, ClientData, Partition, open_partition
from tasks.local.checksums import digest_of
from tasks.local.folders import is_vacant
from tasks.local.home import Home
from tasks.tables.read import read_table


def open_membership(home: Home, items: Path, silos: tuple[str, ...]) -> Partition:
    """Return a partition whose clients are silos on other machines, with counts and digests still unknown.

    Args:
        home: the home in which the catalogue is stored in its normal form.
        items: the catalogue (Parquet, CSV or TSV): item_id, and optionally title and further columns.
        silos: the names of the silos.

    Raises:
        InvalidInput: the catalogue or the names break a rule.
    """
    if not silos or len(set(silos)) != len(silos):
        raise InvalidInput(f"runner.silos must name each silo once, got {list(silos)}.")
    for name in silos:
        if not CLIENT_ID.fullmatch(name):
            raise InvalidInput(f"runner.silos: {name!r} is not a silo's name, expected {CLIENT_ID.pattern}.")
    catalog = _catalog(home, items)
    clients = tuple(
        ClientData(name, catalog.root / "elsewhere" / name, sha256="", users=0, interactions=0)
        for name in sorted(silos)
    )
    digest = digest_of({"catalog": catalog.catalog.digest, "silos": sorted(silos)})
    return replace(catalog, by="silos", clients=clients, digest=digest)


def _catalog(home: Home, items: Path) -> Partition:
    table = read_table(items, ["item_id"])
    # A catalogue that an older fedrec stored was not judged.
    folder = home.root / "catalogs" / f"{table.sha256[:32]}-{FORMAT}"
    if not is_vacant(folder):
        return open_partition(folder)
    none = np.empty(0, dtype=np.int64)
    no_users: pd.Index[str] = pd.Index([], dtype="str")
    return write_partition(
        folder,
        check_catalog(table),
        Interactions(no_users, no_users, none, none, None, None),
        pd.Series([], index=no_users, dtype="str"),
        by="catalogue",
        sources={"items": table.sha256},
    )
