"""Makes a partition: splits interactions into one folder per client and a shared item catalogue."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from models.errors import InvalidInput
from models.kernel.catalog import ItemCatalog
from tasks.datasets.client_assignment import Split, assign_clients
from tasks.datasets.interaction_tables import Interactions, check_interactions, check_items
from tasks.datasets.partition_reader import FORMAT, ITEMS, MANIFEST, Partition, client_file, open_partition
from tasks.local.checksums import digest_of
from tasks.local.folders import build_folder, is_vacant
from tasks.tables.read import read_table
from tasks.tables.table import Table


def make_partition(
    interactions: Path,
    out: Path,
    split: Split,
    *,
    items: Path | None = None,
    users: Path | None = None,
    replace: bool = False,
) -> Partition:
    """Write the partition of these files to `out`. Equal files give equal bytes; an error changes nothing.

    Args:
        interactions: CSV, TSV or Parquet with user_id and item_id, and optionally rating and timestamp.
        out: the folder to make.
        split: how users become clients.
        items: a file of the same kinds with item_id, and optionally title and further columns. Without it the
            catalogue is the sorted set of item ids.
        users: a file of the same kinds with user_id and further columns, which are not stored in the
            partition.
        replace: whether to replace a partition at `out`.

    Raises:
        InvalidInput: a file breaks a rule (the message names file, row and rule), or `out` is taken.
    """
    _require_free(out, replace)
    source = read_table(interactions)
    checked = check_interactions(source)
    users_table = read_table(users) if users else None
    items_table = read_table(items) if items else None
    catalog = _catalog(checked, items_table, source)
    clients = assign_clients(split, checked, source, users_table)
    tables = {"interactions": source, "items": items_table, "users": users_table}
    sources = {name: table.sha256 for name, table in tables.items() if table}
    return write_partition(out, catalog, checked, clients, by=str(split), sources=sources)


def write_partition(
    out: Path,
    catalog: pd.DataFrame,
    checked: Interactions,
    clients: pd.Series[str],
    *,
    by: str,
    sources: dict[str, str],
) -> Partition:
    """Write the partition of checked rows to `out`, whole or not at all; replaces what is there.

    Args:
        out: the folder to make.
        catalog: item_id, title and further columns, as `check_catalog` returns them.
        checked: the interactions.
        clients: the client id of each of `checked.users`, in their order.
        by: how the clients were made.
        sources: SHA-256 of each source of the rows, by name.
    """
    with build_folder(out) as folder:
        manifest = {
            "format": FORMAT,
            "by": by,
            "sources": sources,
            "catalog": _write_catalog(folder, catalog),
            "clients": _write_clients(folder, checked, clients),
        }
        manifest["digest"] = digest_of({"catalog": manifest["catalog"], "clients": manifest["clients"]})
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return open_partition(out)


def _require_free(out: Path, replace: bool) -> None:
    if is_vacant(out):
        return
    if not (out / MANIFEST).is_file():
        raise InvalidInput(
            f"{out} already exists and is not a partition, so it is left unchanged.",
            next_step="Give another folder with --out.",
            path=out,
        )
    if not replace:
        raise InvalidInput(
            f"{out} already holds a partition.",
            next_step="Give --force to replace it, or another folder with --out.",
            path=out,
        )


def _catalog(checked: Interactions, table: Table | None, source: Table) -> pd.DataFrame:
    if table:
        return check_items(table, checked, source)
    ids = pd.Series(checked.items.sort_values())
    return pd.DataFrame({"item_id": ids, "title": ids})


def _write_catalog(folder: Path, catalog: pd.DataFrame) -> dict[str, Any]:
    digest = ItemCatalog.of(catalog["item_id"]).digest
    table = pa.Table.from_pandas(catalog, preserve_index=False)
    sha256 = _write_parquet(folder / ITEMS, _plain_text(table))
    return {"path": ITEMS, "sha256": sha256, "digest": digest, "items": len(catalog)}


def _write_clients(folder: Path, checked: Interactions, clients: pd.Series[str]) -> list[dict[str, Any]]:
    user_clients, names = pd.factorize(clients, sort=True)
    row_clients = user_clients[checked.user_codes]
    # A stable sort keeps the rows of a client in the order of their source.
    order = np.argsort(row_clients, kind="stable")
    table = _table(checked, order)
    sizes = np.bincount(row_clients, minlength=len(names))
    n_users = np.bincount(user_clients, minlength=len(names))
    entries, start = [], 0
    for name, size, users in zip(names, sizes.tolist(), n_users.tolist(), strict=True):
        path = client_file(name)
        (folder / path).parent.mkdir(parents=True)
        sha256 = _write_parquet(folder / path, table.slice(start, size))
        start += size
        entries.append({"id": name, "path": path, "sha256": sha256, "users": users, "interactions": size})
    return entries


def _table(checked: Interactions, order: npt.NDArray[np.int64]) -> pa.Table:
    columns: dict[str, Any] = {
        "user_id": pa.array(checked.users, pa.string()).take(pa.array(checked.user_codes[order])),
        "item_id": pa.array(checked.items, pa.string()).take(pa.array(checked.item_codes[order])),
    }
    if checked.ratings is not None:
        columns["rating"] = pa.array(checked.ratings[order])
    if checked.timestamps is not None:
        columns["timestamp"] = pa.array(checked.timestamps[order])
    return pa.table(columns)


def _plain_text(table: pa.Table) -> pa.Table:
    """Return the table with plain strings and without pandas' metadata, whose versions change the bytes."""
    fields = [
        pa.field(each.name, pa.string() if pa.types.is_large_string(each.type) else each.type)
        for each in table.schema
    ]
    return table.replace_schema_metadata(None).cast(pa.schema(fields))


def _write_parquet(path: Path, table: pa.Table) -> str:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    data = sink.getvalue()
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()
