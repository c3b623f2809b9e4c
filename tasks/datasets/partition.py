"""Makes a partition: splits interactions into one folder per client and a shared item catalogue."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from models.errors import InvalidInput
from models.evaluation.data_report import DataReport, alike_ids, report_on
from models.kernel.catalog import ItemCatalog
from tasks.datasets.catalog import JUDGE_ALL, Catalog, ColumnOptions
from tasks.datasets.client_assignment import Split, assign_clients
from tasks.datasets.interaction_tables import Interactions
from tasks.datasets.item_table import item_table, parquet_bytes
from tasks.datasets.owner_files import STRICT, Reading, Tell, read_owner_files
from tasks.datasets.partition_reader import FORMAT, ITEMS, MANIFEST, Partition, client_file, open_partition
from tasks.datasets.repeats import Repeats, merged_repeats
from tasks.local.checksums import digest_of
from tasks.local.folders import build_folder, is_vacant


def make_partition(
    interactions: Path,
    out: Path,
    split: Split,
    *,
    items: Path | None = None,
    users: Path | None = None,
    columns: ColumnOptions = JUDGE_ALL,
    repeats: Repeats | None = None,
    reading: Reading = STRICT,
    replace: bool = False,
    tell: Tell = lambda note: None,
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
        columns: decisions about the columns of the items file; the others are judged.
        repeats: what becomes of repeated pairs of user and item; None refuses them.
        reading: how the files are read.
        replace: whether to replace a partition at `out`.
        tell: called with a sentence about each kind of rows that were left out, or items that were added.

    Raises:
        InvalidInput: a file breaks a rule (the message names file, row and rule), or `out` is taken.
    """
    _require_free(out, replace)
    found = read_owner_files(interactions, items, users, split, columns, reading, repeats, tell)
    checked, catalog = found.interactions, found.catalog or _catalog_of(found.interactions)
    clients = assign_clients(split, checked, found.source, found.users)
    sources = found.sources
    # The source's table is as large as all that follows.
    del found
    # Last, because errors name rows of the source.
    rows = merged_repeats(checked, repeats) if repeats else checked
    return write_partition(
        out,
        catalog,
        rows,
        clients,
        by=str(split),
        sources=sources,
        report=_report(rows, clients, len(catalog.items), len(checked.user_codes) - len(rows.user_codes)),
    )


def write_partition(
    out: Path,
    catalog: Catalog,
    checked: Interactions,
    clients: pd.Series[str],
    *,
    by: str,
    sources: dict[str, str],
    report: DataReport | None = None,
) -> Partition:
    """Write the partition of checked rows to `out`, whole or not at all; replaces what is there.

    Args:
        out: the folder to make.
        catalog: as `check_catalog` returns it.
        checked: the interactions.
        clients: the client id of each of `checked.users`, in their order.
        by: how the clients were made.
        sources: SHA-256 of each source of the rows, by name.
        report: on the rows; None for those of a silo, whose coordinator must not see it.
    """
    with build_folder(out) as folder:
        manifest = {
            "format": FORMAT,
            "by": by,
            "sources": sources,
            "catalog": _write_catalog(folder, catalog),
            "clients": _write_clients(folder, checked, clients),
            "report": asdict(report) if report else None,
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


def _catalog_of(checked: Interactions) -> Catalog:
    ids = pd.Series(checked.items.sort_values())
    return Catalog(pd.DataFrame({"item_id": ids, "title": ids}))


def _report(rows: Interactions, clients: pd.Series[str], n_items: int, repeats: int) -> DataReport:
    report = report_on(
        rows.user_codes,
        _places(rows.items)[rows.item_codes],
        pd.factorize(clients)[0],
        n_items,
        timestamps=rows.timestamps,
        ratings=rows.ratings,
        repeats=repeats,
    )
    users, items = alike_ids(rows.users), alike_ids(rows.items)
    return dataclasses.replace(
        report,
        alike_users=len(users),
        alike_items=len(items),
        examples_of_users=users[:2],
        examples_of_items=items[:2],
    )


def _places(ids: pd.Index[str]) -> npt.NDArray[np.int64]:
    """Return the place of each id among the sorted ids; ids of digits alone are sorted as numbers."""
    numbers = ids.str.fullmatch(r"\d{1,15}")
    order = np.argsort(ids.astype("int64") if numbers.all() else ids)
    places = np.empty(len(ids), dtype=np.int64)
    places[order] = np.arange(len(ids))
    return places


def _write_catalog(folder: Path, catalog: Catalog) -> dict[str, Any]:
    digest = ItemCatalog.of(catalog.items["item_id"]).digest
    sha256 = _write_parquet(folder / ITEMS, item_table(catalog.items))
    return {
        "path": ITEMS,
        "sha256": sha256,
        "digest": digest,
        "items": len(catalog.items),
        "columns": [each.as_json() for each in catalog.columns],
    }


def _write_clients(folder: Path, checked: Interactions, clients: pd.Series[str]) -> list[dict[str, Any]]:
    user_clients, names = pd.factorize(clients, sort=True)
    row_clients = user_clients[checked.user_codes]
    # A stable sort keeps the rows of a client in the order of their source.
    order = np.argsort(row_clients, kind="stable")
    users, items = (pa.array(each, pa.string()) for each in (checked.users, checked.items))
    sizes = np.bincount(row_clients, minlength=len(names))
    n_users = np.bincount(user_clients, minlength=len(names))
    entries, start = [], 0
    for name, size, count in zip(names, sizes.tolist(), n_users.tolist(), strict=True):
        path = client_file(name)
        (folder / path).parent.mkdir(parents=True)
        rows = order[start : start + size]
        columns = {
            "user_id": users.take(pa.array(checked.user_codes[rows])),
            "item_id": items.take(pa.array(checked.item_codes[rows])),
        }
        for column, values in (("rating", checked.ratings), ("timestamp", checked.timestamps)):
            if values is not None:
                columns[column] = pa.array(values[rows])
        sha256 = _write_parquet(folder / path, pa.table(columns))
        start += size
        entries.append({"id": name, "path": path, "sha256": sha256, "users": count, "interactions": size})
    return entries


def _write_parquet(path: Path, table: pa.Table) -> str:
    data = parquet_bytes(table)
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()
