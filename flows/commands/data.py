"""`fedrec data`: fetches a public data set, and partitions interactions into clients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, cast

import click

from flows.terminal.column_option import columns_option
from flows.terminal.next_command import offered
from flows.terminal.output import emit, json_option
from models.errors import InvalidInput

if TYPE_CHECKING:
    from models.evaluation.data_report import DataReport
    from tasks.datasets.catalog import ColumnOptions
    from tasks.datasets.client_assignment import Split
    from tasks.datasets.item_table import ColumnFacts
    from tasks.datasets.movielens.fetch import Fetched
    from tasks.datasets.partition_reader import Partition
    from tasks.datasets.repeats import Repeats
    from tasks.datasets.unknown_items import UnknownItems
    from tasks.tables.column_names import ColumnNames
    from tasks.tables.faults import BadRows

_file = click.Path(path_type=Path)


@click.group(name="data")
def command() -> None:
    """Fetch a public data set; partition interactions into silos; write a configuration for them."""


@command.group()
def fetch() -> None:
    """Fetch a public data set and verify its published checksum."""


@fetch.command(name="ml-100k")
@click.option("--out", type=_file, help="Folder to make.  [default: FEDREC_HOME/data/ml-100k-raw]")
@click.option(
    "--archive", type=_file, help="GroupLens' ml-100k.zip (or RecBole's wheel), downloaded by hand."
)
@json_option
def ml_100k(out: Path | None, archive: Path | None, as_json: bool) -> None:
    """Fetch MovieLens-100K as interactions.csv, items.csv and users.csv.

    The source is GroupLens or, if it cannot be reached, the RecBole wheel, which contains the same data.
    Intact files that already exist are kept.
    """
    from tasks.datasets.movielens.fetch import fetch_ml_100k
    from tasks.local.home import current_home

    folder = out or current_home().data / "ml-100k-raw"
    fetched = fetch_ml_100k(folder, archive=archive, announce=lambda line: click.echo(line, err=True))
    result = {
        "folder": str(folder),
        "source": fetched.source,
        "downloaded": fetched.downloaded,
        "files": dict(fetched.files),
    }
    emit(result, as_json=as_json, show=lambda: _show_fetched(fetched))


# For the items of a partition, and for those of silos.
_split_option = click.option(
    "--labels-split",
    "splits",
    multiple=True,
    metavar="COLUMN=SEP",
    help="Where to split the text of a column of the items; 'none' for one label a cell. Repeatable.",
)
_leave_out_option = click.option(
    "--leave-out",
    "left_out",
    multiple=True,
    metavar="COLUMN",
    help="A column of the items that is not stored. Repeatable.",
)


_bad_rows_option = click.option(
    "--bad-rows",
    type=click.Choice(["refuse", "skip"]),
    default="refuse",
    show_default=True,
    help="What becomes of rows that break a rule, such as an empty id; skip leaves them out, with a note.",
)


@command.command(name="items")
@click.option("--items", type=_file, required=True, help="item_id[, title] and further columns.")
@columns_option("item_id", "title")
@_bad_rows_option
@_split_option
@_leave_out_option
@click.option("--out", type=_file, required=True, help="Parquet file to make.")
@json_option
def items_(
    items: Path,
    names: ColumnNames,
    bad_rows: BadRows,
    splits: tuple[str, ...],
    left_out: tuple[str, ...],
    out: Path,
    as_json: bool,
) -> None:
    """Make the item catalogue of a job whose silos keep the interactions: its data.items.

    Each column is judged as by 'fedrec data partition'.
    """
    from tasks.datasets.catalog import write_catalog

    with offered("--columns", "--bad-rows", "--leave-out"):
        made = write_catalog(items, out, _columns(splits, left_out, items, bad_rows), names)
    count = len(made.items)
    notes = made.notes(items)
    result = {
        "file": str(out),
        "items": count,
        "notes": notes,
        "columns": [each.as_json() for each in made.columns],
    }

    def show() -> None:
        click.echo(f"{count:,} items are in {out}")
        _show_columns(made.columns, count)
        _show_notes(notes)
        click.echo(f"Next: set data.items to {out.absolute()} in the configuration of the job.")

    emit(result, as_json=as_json, show=show)


@command.command()
@click.option("--interactions", type=_file, required=True, help="user_id, item_id[, rating][, timestamp].")
@click.option("--items", type=_file, help="item_id[, title] and further columns: the shared catalogue.")
@click.option(
    "--users", type=_file, help="user_id and further columns, for --by; not stored in the partition."
)
@click.option("--by", "column", metavar="COLUMN", help="One client per value of this column.")
@click.option("--by-user", is_flag=True, help="One client per user.")
@click.option(
    "--random", "clients", type=click.IntRange(min=1), metavar="N", help="N clients of random users."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of --random.")
@columns_option("user_id", "item_id", "rating", "timestamp", "title")
@_bad_rows_option
@click.option(
    "--unknown-items",
    type=click.Choice(["refuse", "keep", "drop"]),
    default="refuse",
    show_default=True,
    help="What becomes of interactions with items that the items file does not list: keep adds these items, "
    "drop leaves the rows out.",
)
@click.option(
    "--max-items",
    type=click.IntRange(min=1),
    metavar="N",
    help="Keep only the N items with the most interactions, for families whose model has all pairs of items.",
)
@_split_option
@_leave_out_option
@click.option(
    "--repeats",
    type=click.Choice(["latest", "first", "sum"]),
    help="Which of a user's repeated interactions with an item counts; sum adds ratings, or counts. "
    "By default they are refused.",
)
@click.option("--out", type=_file, required=True, help="Folder to make.")
@click.option("--force", is_flag=True, help="Replace an existing partition.")
@json_option
def partition(
    interactions: Path,
    items: Path | None,
    users: Path | None,
    column: str | None,
    by_user: bool,
    clients: int | None,
    seed: int,
    names: ColumnNames,
    bad_rows: BadRows,
    unknown_items: UnknownItems,
    max_items: int | None,
    splits: tuple[str, ...],
    left_out: tuple[str, ...],
    repeats: Repeats | None,
    out: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Partition interactions into one folder per client and a shared item catalogue.

    Files are CSV, TSV or Parquet, according to their extension. COLUMN is a column of the users file or else
    of the interactions.

    Each further column of the items is judged once: numbers stay numbers, lists are labels, and text is split
    into labels at "|" or at commas. What was found is printed and stored.
    """
    from tasks.datasets.data_notes import warnings_about
    from tasks.datasets.owner_files import Reading
    from tasks.datasets.partition import make_partition

    split = _split(column, by_user, clients, seed)
    columns = _columns(splits, left_out, items, bad_rows)
    notes: list[str] = []
    with offered("--columns", "--bad-rows", "--leave-out", "--repeats", "--unknown-items"):
        made = make_partition(
            interactions,
            out,
            split,
            items=items,
            users=users,
            columns=columns,
            repeats=repeats,
            reading=Reading(names, bad_rows, unknown_items, max_items),
            replace=force,
            tell=notes.append,
        )
    report = cast("DataReport", made.report)
    warnings = warnings_about(report, datetime.now(UTC))
    result = {
        "folder": str(made.root),
        "by": made.by,
        "clients": [
            {"id": each.id, "users": each.users, "interactions": each.interactions} for each in made.clients
        ],
        "users": sum(each.users for each in made.clients),
        "items": len(made.catalog),
        "interactions": sum(each.interactions for each in made.clients),
        "columns": [each.as_json() for each in made.columns],
        "report": asdict(report),
        "notes": notes,
        "warnings": warnings,
        "catalog_digest": made.catalog.digest,
        "digest": made.digest,
    }
    emit(result, as_json=as_json, show=lambda: _show_partition(made, report, [*notes, *warnings]))


@command.command()
@click.argument("folder", metavar="PARTITION", type=_file)
@click.option("--name", help="Name of job and model.  [default: like the folder's]")
@click.option("--out", type=_file, required=True, help="The YAML file to make.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@json_option
def config(folder: Path, name: str | None, out: Path, force: bool, as_json: bool) -> None:
    """Write a configuration that trains on PARTITION.

    It allows no pooling of the clients' data, and accepts the ratings that the data have.
    """
    import yaml

    from flows.settings.starting_config import starting_config
    from flows.settings.training_config import parse_config
    from tasks.datasets.partition_reader import open_partition
    from tasks.local.atomic import create_exclusively, write_atomically

    text = starting_config(open_partition(folder), name)
    parsed = parse_config(yaml.safe_load(text), "The new configuration")
    try:
        (write_atomically if force else create_exclusively)(out, text.encode())
    except OSError as error:
        if out.exists():
            raise InvalidInput(
                f"{out} exists already.", next_step="Name another file, or replace it with --force.", file=out
            ) from error
        raise InvalidInput(f"{out} cannot be written: {error.strerror}.", file=out) from error
    result = {"file": str(out), "name": parsed.name, "model_name": parsed.model_name}
    emit(
        result,
        as_json=as_json,
        show=lambda: click.echo(f"Wrote {out}.\nNext: fedrec train --config {quote(str(out))}"),
    )


def _split(column: str | None, by_user: bool, clients: int | None, seed: int) -> Split:
    from tasks.datasets.client_assignment import ByChance, ByColumn, ByUser

    given = [column is not None, by_user, clients is not None]
    if sum(given) != 1:
        raise click.UsageError("Give exactly one of --by COLUMN, --by-user and --random N.")
    if column is not None:
        return ByColumn(column)
    return ByUser() if clients is None else ByChance(clients, seed)


def _columns(
    splits: tuple[str, ...], left_out: tuple[str, ...], items: Path | None, bad_rows: BadRows
) -> ColumnOptions:
    from tasks.datasets.catalog import ColumnOptions

    if (splits or left_out) and items is None:
        raise click.UsageError("--labels-split and --leave-out are about columns of the items; give --items.")
    found: dict[str, str] = {}
    for each in splits:
        column, _, separator = each.partition("=")
        if not column or not separator:
            raise click.UsageError(f"--labels-split takes COLUMN=SEP, such as genres=';', got {each!r}.")
        if found.setdefault(column, separator) != separator:
            raise click.UsageError(f"--labels-split names the column {column!r} twice.")
    return ColumnOptions(found, frozenset(left_out), bad_rows)


def _show_fetched(fetched: Fetched) -> None:
    folder = fetched.folder
    if not fetched.downloaded:
        click.echo(f"MovieLens-100K already exists intact in {folder}; nothing was downloaded.")
    else:
        click.echo(f"MovieLens-100K is in {folder}, from {fetched.source}.")
    paths = {name: quote(str(folder / f"{name}.csv")) for name in ("interactions", "items", "users")}
    click.echo("Next, one client per occupation:")
    click.echo(f"  fedrec data partition --interactions {paths['interactions']} \\")
    click.echo(f"    --items {paths['items']} --users {paths['users']} \\")
    click.echo(f"    --by occupation --out {quote(str(folder.parent / 'ml-100k'))}")


def _show_partition(made: Partition, report: DataReport, warnings: list[str]) -> None:
    from flows.settings.starting_config import name_for
    from tasks.datasets.data_notes import report_lines

    interactions = sum(each.interactions for each in made.clients)
    users = sum(each.users for each in made.clients)
    sizes = sorted(made.clients, key=lambda each: each.interactions)
    click.echo(
        f"{len(made.clients)} clients with {users:,} users and {interactions:,} interactions of "
        f"{len(made.catalog):,} items are in {made.root}"
    )
    small, large = sizes[0], sizes[-1]
    click.echo(f"smallest {small.id} ({small.interactions:,}), largest {large.id} ({large.interactions:,})")
    for line in report_lines(report):
        click.echo(line)
    _show_columns(made.columns, len(made.catalog))
    _show_notes(warnings)
    click.echo(f"digest {made.digest}")
    file = quote(f"{name_for(made.root)}.yaml")
    click.echo("Next:")
    if not _is_configured(Path(f"{name_for(made.root)}.yaml"), made.root):
        click.echo(f"  fedrec data config {quote(str(made.root))} --out {file}")
    click.echo(f"  fedrec train --config {file}")


def _show_notes(notes: Sequence[str]) -> None:
    for note in notes:
        click.echo(f"Note: {note}")


def _is_configured(file: Path, folder: Path) -> bool:
    """Return whether a file is a configuration that trains on the partition in a folder."""
    import yaml

    try:
        found = yaml.safe_load(file.read_bytes())
        return Path(found["data"]["dir"]).resolve() == folder.resolve()
    except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError):
        return False


def _show_columns(columns: Sequence[ColumnFacts], items: int) -> None:
    if columns:
        click.echo("Columns of the items:")
        width = max(len(each.name) for each in columns)
        for each in columns:
            click.echo(f"  {each.name:{width}}  {each.described(items)}")
