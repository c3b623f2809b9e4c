"""Reads a silo's interactions from a database through SQLAlchemy; no message shows a password."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from models.errors import InvalidConfig, InvalidInput, SourceUnavailable
from tasks.datasets.repeats import Repeats
from tasks.tables.sql_values import converted
from tasks.tables.table import Table, refuse

PASSWORD_VARIABLE = "FEDREC_SOURCE_PASSWORD"  # noqa: S105 - the variable's name, not a password

_COLUMNS = ("user_id", "item_id", "rating", "timestamp")
_ROWS_AT_ONCE = 50_000
_CONNECT_TIMEOUT_S = 10
_POSTGRES_REAL = 700  # the object id of the type in pg_type


@dataclass(frozen=True)
class SqlSource:
    """A query against a database.

    Attributes:
        url: SQLAlchemy URL without a password, such as `postgresql+psycopg://fedrec@host/shop`.
        query: returns user_id and item_id, and optionally rating and timestamp. It needs no ORDER BY, because
            the rows are sorted afterwards. With ORDER BY, the row numbers in errors are always the same.
        repeats: what becomes of repeated pairs of user and item; None refuses them.
    """

    url: str
    query: str
    repeats: Repeats | None = None


def read_query(source: SqlSource) -> Table:
    """Return the rows of the query, in the database's order.

    The rows are fetched in pieces. With PostgreSQL and SQLite this happens in a read-only transaction; other
    databases should be protected by an account that may only SELECT.

    Raises:
        InvalidConfig: the URL is not a database URL, or its driver is not installed.
        SourceUnavailable: the database cannot be reached or refuses the account.
        InvalidInput: the query fails, lacks a column, returns no row, or returns a value that is neither an
            id nor a number.
    """
    url = _url(source.url)
    origin = f"The query of {_shown(url)}"
    with _connection(url) as connection, _translated_errors(origin, url):
        result = connection.exec_driver_sql(source.query)
        found = [name.strip() for name in list(result.keys())]
        names = _columns(found, origin)
        float_bits = _float_bits(result, connection.dialect.name)
        # Converted to columns piece by piece, because a list of all rows would need ten times the memory.
        rows = result.columns(*(found.index(name) for name in names))
        pieces: list[pa.Table] = []
        start = 1
        for piece in rows.partitions(_ROWS_AT_ONCE):
            columns = dict(zip(names, zip(*piece, strict=True), strict=True))
            pieces.append(_converted(columns, origin, start, float_bits))
            start += len(piece)
    if not pieces:
        refuse(origin, "the query returned no rows")
    sha256 = hashlib.sha256(source.query.encode()).hexdigest()
    return Table(origin, _together(pieces), sha256)


def _url(text: str) -> sa.URL:
    try:
        url = sa.make_url(text)
    except (ArgumentError, ValueError):
        # The text is not shown, because it may contain a password.
        raise InvalidConfig(
            "source.sql.url is not a database URL.",
            next_step="Write it like postgresql+psycopg://user@host:5432/database.",
            key="source.sql.url",
        ) from None
    password = os.environ.get(PASSWORD_VARIABLE)
    if password and url.get_backend_name() != "sqlite":
        url = url.set(password=password)
    return url


def _shown(url: sa.URL) -> str:
    place = url.host or "this machine"
    port = f":{url.port}" if url.port else ""
    return f"{url.get_backend_name()} database {url.database!r} at {place}{port}"


@contextmanager
def _connection(url: sa.URL) -> Iterator[sa.Connection]:
    file = url.database or ""
    if (
        url.get_backend_name() == "sqlite"
        and not file.startswith((":", "file:"))
        and not Path(file).is_file()
    ):
        # SQLite would create an empty database of that name.
        raise SourceUnavailable(f"The {_shown(url)} does not exist.", next_step="Correct source.sql.url.")
    engine = _engine(url)
    try:
        with _opened(engine, url) as connection:
            yield connection
    finally:
        engine.dispose()


def _engine(url: sa.URL) -> sa.Engine:
    name = url.drivername
    options: dict[str, Any] = {}
    if url.get_backend_name() == "postgresql":
        options["postgresql_readonly"] = True
    try:
        known = url.get_dialect()
        engine = sa.create_engine(
            url,
            poolclass=sa.pool.NullPool,
            connect_args=_connect_args(url, known.driver),
            # Drivers differ in how they mark parameters. Without parameters the query is sent unchanged.
            execution_options={"no_parameters": True, "yield_per": _ROWS_AT_ONCE, **options},
        )
    except (SQLAlchemyError, ImportError, TypeError) as error:
        raise InvalidConfig(
            f"source.sql.url: no driver for {name!r} is installed ({_one_line(error, url)}).",
            next_step="For PostgreSQL install fedrec with its extra 'postgres' and write postgresql+psycopg://.",
            key="source.sql.url",
        ) from None
    if engine.dialect.is_async:
        raise InvalidConfig(
            f"source.sql.url: {name!r} is an asynchronous driver.",
            next_step="Use a synchronous one, such as postgresql+psycopg.",
            key="source.sql.url",
        )
    return engine


def _connect_args(url: sa.URL, driver: str) -> dict[str, Any]:
    # By default libpq waits for minutes for a host that does not respond.
    if driver in ("psycopg", "psycopg2") and "connect_timeout" not in url.query:
        return {"connect_timeout": _CONNECT_TIMEOUT_S}
    return {}


def _opened(engine: sa.Engine, url: sa.URL) -> sa.Connection:
    try:
        connection = engine.connect()
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA query_only = ON")
        return connection
    except (SQLAlchemyError, OSError, UnicodeError) as error:
        problem = _one_line(error, url)
        account = any(
            word in problem.lower() for word in ("password", "authentication", "role", "access denied")
        )
        raise SourceUnavailable(
            f"The {_shown(url)} cannot be opened: {problem}.",
            next_step=f"Check the account, and its password in {PASSWORD_VARIABLE} or ~/.pgpass."
            if account
            else "Check that the database runs and that this machine can reach it.",
        ) from None


@contextmanager
def _translated_errors(origin: str, url: sa.URL) -> Iterator[None]:
    """Convert the database's errors inside the block to fedrec's own."""
    try:
        yield
    except DBAPIError as error:
        problem = _one_line(error, url)
        if error.connection_invalidated:
            raise SourceUnavailable(f"{origin} lost its connection: {problem}.") from None
        raise InvalidInput(f"{origin} failed: {problem}.", next_step="Correct source.sql.query.") from None
    except SQLAlchemyError as error:
        raise InvalidInput(
            f"{origin} returned no rows that can be read: {_one_line(error, url)}.",
            next_step="Write the query as one SELECT.",
        ) from None


def _columns(found: list[str], origin: str) -> list[str]:
    listed = ", ".join(found)
    for name in _COLUMNS:
        if found.count(name) > 1:
            refuse(origin, f"the column {name!r} occurs twice; the columns are: {listed}")
        if name not in found and name in _COLUMNS[:2]:
            refuse(
                origin,
                f"the column {name!r} is missing; the columns are: {listed}",
                next_step=f"Name it in the query: SELECT ... AS {name}.",
            )
    return [name for name in _COLUMNS if name in found]


def _converted(
    columns: Mapping[str, tuple[Any, ...]], origin: str, start: int, float_bits: Mapping[str, int]
) -> pa.Table:
    def refuse_at(position: int, rule: str, next_step: str = "", **facts: Any) -> NoReturn:
        refuse(origin, rule, row=start + position, next_step=next_step, **facts)

    return pa.table(
        {
            name: converted(name, values, refuse_at, float_bits.get(name, 64))
            for name, values in columns.items()
        }
    )


def _float_bits(result: sa.CursorResult[Any], dialect: str) -> dict[str, int]:
    """Return the size of the floats of each column whose floats have less than 64 bits."""
    if dialect != "postgresql":
        return {}
    return {column[0].strip(): 32 for column in result.cursor.description if column[1] == _POSTGRES_REAL}


def _together(pieces: list[pa.Table]) -> pa.Table:
    """Join the pieces; a column that is text in one piece becomes text in all (SQLite may mix types)."""
    schemas = [piece.schema for piece in pieces]
    fields = []
    for name in schemas[0].names:
        kinds = {schema.field(name).type for schema in schemas}
        fields.append(pa.field(name, kinds.pop() if len(kinds) == 1 else pa.string()))
    return pa.concat_tables([piece.cast(pa.schema(fields)) for piece in pieces])


def _one_line(error: Exception, url: sa.URL) -> str:
    """Return the driver's message in one line and without the password."""
    text = " ".join(str(getattr(error, "orig", None) or error).split())[:300].rstrip(".")
    return text.replace(str(url.password), "***") if url.password else text
