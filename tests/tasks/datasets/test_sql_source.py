"""A silo's interactions from a database: SQLite, and a real PostgreSQL server."""

from __future__ import annotations

import logging
import sqlite3
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg
import pytest
import sqlalchemy as sa

from models.errors import FedrecError, InvalidConfig, InvalidInput, SourceUnavailable
from tasks.datasets import sql_source
from tasks.datasets.source import FolderSource, SourceRows, read_source
from tasks.datasets.sql_source import SqlSource
from tests.servers.free_port import free_port


def rows(found: SourceRows) -> list[tuple]:
    """Return the interactions as tuples, in order."""
    got = found.interactions
    columns = [got.users[got.user_codes], got.items[got.item_codes]]
    columns += [each.tolist() for each in (got.ratings, got.timestamps) if each is not None]
    return list(zip(*columns, strict=True))


# Bought at one moment: only a fixed order decides which of Ann's purchases was the last.
PURCHASES = [
    ("ann", 30, 4, "2020-01-02 00:00:00+00"),
    ("ann", 7, 5, "2020-01-02 01:00:00+01"),
    ("bob", 7, 1, "2020-01-01 00:00:00.999999+00"),
    ("ann", 200, 3, "2020-01-01 00:00:00+00"),
]
DAY = 1577836800  # 2020-01-01 in UTC
# By user, then time, then item as text: "30" comes before "7".
ORDERED = [
    ("ann", "200", 3.0, DAY),
    ("ann", "30", 4.0, DAY + 86400),
    ("ann", "7", 5.0, DAY + 86400),
    ("bob", "7", 1.0, DAY),
]
UUID = "00000000-0000-0000-0000-000000000007"
QUERY = (
    "SELECT customer AS user_id, product AS item_id, stars AS rating, bought_at AS timestamp FROM purchases"
)


@pytest.fixture
def shop(postgres_server, postgres_url, monkeypatch) -> sa.URL:
    """Return a database with purchases. Its password is in the environment and not in the URL."""
    url = sa.make_url(postgres_url)
    with postgres_server.connect(url.database) as connection:
        connection.execute(
            "CREATE TABLE purchases "
            "(customer text, product bigint, stars numeric(3, 1), bought_at timestamptz)"
        )
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO purchases VALUES (%s, %s, %s, %s)", PURCHASES)
    monkeypatch.setenv("FEDREC_SOURCE_PASSWORD", url.password)
    return url


def without_password(url: sa.URL) -> str:
    return url._replace(password=None).render_as_string()


class TestPostgres:
    @pytest.mark.parametrize("order", ["customer, stars", "stars DESC", "product"])
    @pytest.mark.parametrize("at_once", [50_000, 1, 3])
    def test_rows_are_sorted_whatever_their_order_and_pieces(self, shop, monkeypatch, order, at_once):
        monkeypatch.setattr(sql_source, "_ROWS_AT_ONCE", at_once)
        source = SqlSource(without_password(shop), f"{QUERY} ORDER BY {order}")
        assert rows(read_source(source)) == ORDERED

    def test_times_do_not_depend_on_the_time_zone_of_the_session(self, shop, postgres_server):
        postgres_server.execute(f"ALTER DATABASE {shop.database} SET timezone = 'America/New_York'")
        assert rows(read_source(SqlSource(without_password(shop), QUERY))) == ORDERED

    @pytest.mark.parametrize(
        ("select", "expected"),
        [
            (f"'{UUID}'::uuid AS user_id, 5 AS item_id", [(UUID, "5")]),
            ("9007199254740993 AS user_id, 5.0::numeric AS item_id", [("9007199254740993", "5")]),
            ("7.0::float8 AS user_id, '007' AS item_id", [("7", "007")]),
            (
                "16777215::real AS user_id, 9007199254740991::float8 AS item_id",
                [("16777215", "9007199254740991")],
            ),
            ("'u'::char(5) AS user_id, 'é'::bytea AS item_id", [("u", "é")]),
            ("9007199254740992::numeric AS user_id, ' i ' AS item_id", [("9007199254740992", "i")]),
            ("'u' AS user_id, 'i' AS item_id, '2020-01-01'::date AS timestamp", [("u", "i", DAY)]),
            ("'u' AS user_id, 'i' AS item_id, '2020-01-01 00:00:01'::timestamp AS timestamp", DAY + 1),
            ("'u' AS user_id, 'i' AS item_id, 1577836800.9 AS timestamp", DAY),
            ("'u' AS user_id, 'i' AS item_id, '2020-01-01' AS timestamp", DAY),
            ("'u' AS user_id, 'i' AS item_id, '4.5' AS rating", 4.5),
            ("'u' AS user_id, 'i' AS item_id, 'x:y %s 100%' AS note", [("u", "i")]),
        ],
    )
    def test_types_of_the_database_are_converted(self, shop, select, expected):
        if not isinstance(expected, list):
            expected = [("u", "i", expected)]
        assert rows(read_source(SqlSource(without_password(shop), f"SELECT {select}"))) == expected

    @pytest.mark.parametrize(
        ("query", "problem"),
        [
            (f"{QUERY} WHERE false", "the query returned no rows"),
            ("SELECT customer, product AS item_id FROM purchases", "the column 'user_id' is missing; the"),
            ("SELECT customer AS user_id FROM purchases", "'item_id' is missing; the columns are: user_id."),
            ("SELECT 1 AS user_id, 2 AS item_id, 3 AS item_id", "the column 'item_id' occurs twice"),
            ("SELECT * FROM purchase", 'failed: relation "purchase" does not exist'),
            ("SELEC 1", "failed: syntax error"),
            ("SELECT 'u' AS user_id, true AS item_id", "row 1: item_id is a bool"),
            ("SELECT 1.5 AS user_id, 'i' AS item_id", "row 1: user_id 1.5 is neither text nor a whole"),
            (
                "SELECT 16777216::real AS user_id, 'i' AS item_id",
                "row 1: user_id 16777216 is a 32-bit float, and",
            ),
            (
                "SELECT 'u' AS user_id, x AS item_id FROM (VALUES (1::float8), (1e20)) AS t (x)",
                "row 2: item_id 100000000000000000000 is a 64-bit float, and from 2^53 on",
            ),
            (
                "SELECT 'NaN'::float8 AS user_id, 'i' AS item_id",
                "row 1: user_id nan is neither text nor a whole",
            ),
            (
                "SELECT 'u' AS user_id, 'NaN'::numeric AS item_id",
                "row 1: item_id NaN is neither text nor a whole",
            ),
            (
                "SELECT 'u' AS user_id, 'Infinity'::real AS item_id",
                "row 1: item_id inf is neither text nor a",
            ),
            (
                "SELECT '\\xff'::bytea AS user_id, 'i' AS item_id",
                "row 1: user_id is neither text nor a whole number",
            ),
            ("SELECT E'u\\nv' AS user_id, 'i' AS item_id", "row 1: user_id holds a line break"),
            ("SELECT 'u' AS user_id, 'i' AS item_id, true AS timestamp", "row 1: timestamp is a bool"),
            ("SELECT 'u' AS user_id, 'i' AS item_id, now() AS rating", "row 1: rating is a datetime"),
            (
                "SELECT 'u' AS user_id, x AS item_id FROM (VALUES ('a'), ('b'), (NULL)) AS t (x)",
                "row 3: item_id is empty",
            ),
            (
                "SELECT 'u' AS user_id, x AS item_id FROM (VALUES ('a'), ('b'), ('a')) AS t (x)",
                "row 3: user 'u' and item 'a' already occur together in row 1",
            ),
            (
                "SELECT 'u' AS user_id, 'i' AS item_id, '-Infinity'::float8 AS rating",
                "row 1: rating '-inf' is not a finite number",
            ),
        ],
    )
    def test_a_query_that_breaks_a_rule_is_refused(self, shop, monkeypatch, query, problem):
        monkeypatch.setattr(sql_source, "_ROWS_AT_ONCE", 2)
        with pytest.raises(InvalidInput) as error:
            read_source(SqlSource(without_password(shop), query))
        assert problem in str(error.value)
        assert f"postgresql database '{shop.database}' at 127.0.0.1:{shop.port}" in str(error.value)

    @pytest.mark.parametrize(
        "query",
        [
            "DELETE FROM purchases RETURNING customer AS user_id, product AS item_id",
            f"WITH gone AS (DELETE FROM purchases RETURNING *) {QUERY}",  # noqa: S608
            "SELECT take_all() AS user_id, 1 AS item_id",
        ],
    )
    def test_a_query_cannot_write(self, shop, postgres_server, query):
        with postgres_server.connect(shop.database) as connection:
            connection.execute(
                "CREATE FUNCTION take_all() RETURNS text LANGUAGE sql AS "
                "$$ DELETE FROM purchases RETURNING customer $$"
            )
            with pytest.raises(InvalidInput, match="failed"):
                read_source(SqlSource(without_password(shop), query))
            assert connection.execute("SELECT count(*) FROM purchases").fetchone() == (len(PURCHASES),)

    def test_no_session_is_left_behind(self, shop, postgres_server):
        read_source(SqlSource(without_password(shop), QUERY))
        with pytest.raises(InvalidInput):
            read_source(SqlSource(without_password(shop), "SELEC"))
        with postgres_server.connect("postgres") as connection:
            sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
            deadline = time.monotonic() + 5
            while connection.execute(sessions, [shop.database]).fetchone() != (0,):
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def test_a_wrong_password_is_refused(self, shop, monkeypatch):
        monkeypatch.setenv("FEDREC_SOURCE_PASSWORD", "not-the-password")
        with pytest.raises(SourceUnavailable, match="password authentication failed") as error:
            read_source(SqlSource(without_password(shop), QUERY))
        assert "FEDREC_SOURCE_PASSWORD" in error.value.next_step
        assert "~/.pgpass" in error.value.next_step

    def test_the_password_may_be_in_pgpass(self, shop, monkeypatch, tmp_path):
        monkeypatch.delenv("FEDREC_SOURCE_PASSWORD")
        pgpass = tmp_path / "pgpass"
        pgpass.touch(mode=0o600)
        pgpass.write_text(f"127.0.0.1:{shop.port}:*:{shop.username}:{shop.password}\n", encoding="ascii")
        with pytest.raises(SourceUnavailable, match="password"):
            read_source(SqlSource(without_password(shop), QUERY))
        monkeypatch.setenv("PGPASSFILE", str(pgpass))
        assert rows(read_source(SqlSource(without_password(shop), QUERY))) == ORDERED

    def test_a_server_that_goes_away_is_one_clear_error(self, shop, postgres_server, monkeypatch):
        """The connection is cut between two pieces."""
        monkeypatch.setattr(sql_source, "_ROWS_AT_ONCE", 1)
        given = sql_source.converted

        def cut(*arguments):
            postgres_server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "  # noqa: S608
                f"WHERE datname = '{shop.database}' AND pid <> pg_backend_pid()"
            )
            return given(*arguments)

        monkeypatch.setattr(sql_source, "converted", cut)
        with pytest.raises(SourceUnavailable, match="lost its connection"):
            read_source(SqlSource(without_password(shop), QUERY))


class TestUnreachable:
    def test_a_port_without_a_server_is_named(self):
        url = f"postgresql+psycopg://fedrec@127.0.0.1:{free_port()}/shop"
        with pytest.raises(SourceUnavailable, match="cannot be opened") as error:
            read_source(SqlSource(url, QUERY))
        assert "Check that the database runs" in error.value.next_step

    def test_an_unknown_database_is_named(self, shop):
        with pytest.raises(SourceUnavailable, match='database "absent" does not exist'):
            read_source(SqlSource(without_password(shop.set(database="absent")), QUERY))

    def test_a_missing_file_is_refused_and_not_created(self, tmp_path):
        with pytest.raises(SourceUnavailable, match="does not exist"):
            read_source(SqlSource(f"sqlite:///{tmp_path}/absent.db", QUERY))
        assert list(tmp_path.glob("absent*")) == []

    @pytest.mark.parametrize(
        ("url", "problem"),
        [
            ("no url", "is not a database URL"),
            ("postgresql+psycopg://u@host:port/d", "is not a database URL"),
            ("nosuch+driver://u@host/d", "no driver for 'nosuch\\+driver'"),
            ("postgresql+nosuch://u@host/d", "no driver for 'postgresql\\+nosuch'"),
            ("sqlite+aiosqlite:///:memory:", "asynchronous driver"),
        ],
    )
    def test_an_unusable_url_is_refused(self, url, problem):
        with pytest.raises(InvalidConfig, match=problem) as error:
            read_source(SqlSource(url, QUERY))
        assert error.value.key == "source.sql.url"


class TestPasswords:
    SECRET = "s3cr3t-of-the-silo"  # noqa: S105

    @pytest.mark.parametrize(
        ("url", "query"),
        [
            ("postgresql+psycopg://{user}@127.0.0.1:{port}/{database}", QUERY),
            ("postgresql+psycopg://{user}@127.0.0.1:1/{database}", QUERY),
            ("postgresql+psycopg://{user}@127.0.0.1:{port}/{database}?nonsense=1", QUERY),
            ("postgresql+psycopg://{user}:{secret}@127.0.0.1:port/{database}", QUERY),
            ("nosuch://{user}:{secret}@127.0.0.1/{database}", QUERY),
            ("postgresql+psycopg://{owner}@127.0.0.1:{port}/{database}", "SELECT '{secret}'::int"),
            ("postgresql+psycopg://{owner}@127.0.0.1:{port}/{database}", QUERY),
        ],
    )
    def test_are_in_no_error_and_no_log(self, shop, postgres_server, monkeypatch, caplog, url, query):
        caplog.set_level(logging.DEBUG)
        with postgres_server.connect("postgres") as connection:
            connection.execute("DROP ROLE IF EXISTS owner")
            connection.execute(f"CREATE ROLE owner SUPERUSER LOGIN PASSWORD '{self.SECRET}'")
        monkeypatch.setenv("FEDREC_SOURCE_PASSWORD", self.SECRET)
        names = {"user": shop.username, "port": shop.port, "database": shop.database, "owner": "owner"}
        source = SqlSource(url.format(secret=self.SECRET, **names), query.format(secret=self.SECRET))
        if query == QUERY and "{owner}" in url:
            assert rows(read_source(source)) == ORDERED
        else:
            with pytest.raises(FedrecError) as error:
                read_source(source)
            assert self.SECRET not in f"{error.value} {vars(error.value)}"
            assert error.value.__cause__ is None
            assert error.value.__suppress_context__
        assert self.SECRET not in caplog.text
        postgres_server.execute("DROP ROLE owner")


class TestSqlite:
    @pytest.fixture
    def database(self, tmp_path) -> Path:
        path = tmp_path / "shop.db"
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE t (u, i, r, s)")
            connection.executemany(
                "INSERT INTO t VALUES (?, ?, ?, ?)",
                [(1, "b", 3, DAY), ("2", "a", "4.5", "2020-01-02"), (1, 7, None, 5.5)],
            )
        return path

    def read(self, database: Path, query: str) -> list[tuple]:
        return rows(read_source(SqlSource(f"sqlite:///{database}", query)))

    @pytest.mark.parametrize("at_once", [50_000, 1])
    def test_columns_of_mixed_types_are_read(self, database, monkeypatch, at_once):
        monkeypatch.setattr(sql_source, "_ROWS_AT_ONCE", at_once)
        monkeypatch.setenv("FEDREC_SOURCE_PASSWORD", "of no use here")
        query = "SELECT u AS user_id, i AS item_id, coalesce(r, 1) AS rating, s AS timestamp FROM t"
        assert self.read(database, query) == [
            ("1", "7", 1.0, 5),
            ("1", "b", 3.0, DAY),
            ("2", "a", 4.5, DAY + 86400),
        ]

    def test_without_times_rows_are_sorted_by_user_and_item(self, database):
        query = "SELECT u AS user_id, i AS item_id FROM t ORDER BY u DESC"
        assert self.read(database, query) == [("1", "7"), ("1", "b"), ("2", "a")]

    def test_blanks_around_names_do_not_count(self, database):
        query = 'SELECT u AS " user_id", i AS "item_id " FROM t'
        assert self.read(database, query) == [("1", "7"), ("1", "b"), ("2", "a")]
        with pytest.raises(InvalidInput, match="the column 'item_id' occurs twice"):
            self.read(database, query.replace(" FROM", ", r AS item_id FROM"))

    def test_a_null_is_an_empty_value(self, database):
        with pytest.raises(InvalidInput, match=r"row 3: rating \(empty\) is not a finite number"):
            self.read(database, "SELECT u AS user_id, i AS item_id, r AS rating FROM t")

    @pytest.mark.parametrize(
        ("item", "expected"),
        [
            ("9007199254740991.0", "9007199254740991"),
            ("-9007199254740992.0", "row 1: item_id -9007199254740992 is a 64-bit float"),
            ("9e999", "row 1: item_id inf is neither text nor a whole number"),
            ("9007199254740993", "9007199254740993"),
            ("CAST('i ' AS BLOB)", "i"),
            ("x'ff'", "row 1: item_id is neither text nor a whole number: its bytes are not UTF-8"),
        ],
    )
    def test_ids_of_other_types(self, database, item, expected):
        query = f"SELECT 'u' AS user_id, {item} AS item_id"
        if expected.startswith("row"):
            with pytest.raises(InvalidInput, match=expected):
                self.read(database, query)
        else:
            assert self.read(database, query) == [("u", expected)]

    def test_a_query_cannot_write(self, database):
        with pytest.raises(InvalidInput, match="readonly"):
            self.read(database, "DELETE FROM t RETURNING u AS user_id, i AS item_id")
        assert len(self.read(database, "SELECT u AS user_id, i AS item_id FROM t")) == 3

    def test_a_statement_without_rows_is_refused(self, database):
        with pytest.raises(InvalidInput, match="Write the query as one SELECT"):
            self.read(database, "DROP TABLE IF EXISTS absent")


def test_equal_rows_give_equal_arrays_from_files_and_from_a_database(tmp_path, shop, postgres_server):
    """The files hold the rows by user, time and item. The database holds them shuffled."""
    random = np.random.default_rng(3)
    pairs = random.choice(40 * 30, size=300, replace=False)
    frame = pd.DataFrame(
        {
            "user_id": [f"u{pair // 30}" for pair in pairs],
            "item_id": [f"i{pair % 30}" for pair in pairs],
            "rating": random.integers(1, 6, 300).astype(float),
            "timestamp": random.integers(0, 20, 300),
        }
    )
    with postgres_server.connect(shop.database) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE rows (user_id text, item_id text, rating float8, timestamp bigint)")
        copy_in(cursor, frame)
    folder = tmp_path / "files"
    folder.mkdir()
    ordered = frame.sort_values(["user_id", "timestamp", "item_id"])
    ordered[:120].to_csv(folder / "1.csv", index=False)
    ordered[120:].to_csv(folder / "2.csv", index=False)
    from_files = rows(read_source(FolderSource(folder)))
    assert rows(read_source(SqlSource(without_password(shop), "SELECT * FROM rows"))) == from_files
    assert from_files == list(ordered.itertuples(index=False, name=None))


def copy_in(cursor: psycopg.Cursor, frame: pd.DataFrame) -> None:
    with cursor.copy("COPY rows FROM STDIN") as copy:
        for row in frame.itertuples(index=False, name=None):
            copy.write_row(row)
