"""A silo's settings: which keys they know, which values they refuse, and that no message shows a password."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.silo.settings import SiloSettings, load_silo_settings
from models.errors import InvalidConfig
from tasks.datasets.source import FolderSource
from tasks.datasets.sql_source import SqlSource

EXAMPLE = Path(__file__).parents[3] / "infra" / "silo.example.yaml"
NEEDED: dict[str, Any] = {
    "name": "ash",
    "prefect_api_url": "http://127.0.0.1:4200/api",
    "exchange": "s3://bucket/fedrec",
    "source": {"folder": "/data"},
}
SECRET = "hunter2"  # noqa: S105


def load(tmp_path: Path, raw: Any) -> SiloSettings:
    path = tmp_path / "silo.yaml"
    path.write_text(raw if isinstance(raw, str) else yaml.safe_dump(raw), encoding="utf-8")
    return load_silo_settings(path)


def sql(url: str) -> dict[str, Any]:
    return {**NEEDED, "source": {"sql": {"url": url, "query": "SELECT 1"}}}


def test_omitted_keys_have_their_defaults(tmp_path):
    settings = load(tmp_path, NEEDED)
    assert settings.policy.model_dump() == {
        "may_leave": ("check", "update", "evaluation"),
        "max_update_bytes": 100_000_000,
        "min_users": 1,
        "min_cohort": 3,
        "plain": True,
        "publish": (),
        "max_epsilon": None,
    }
    assert settings.data_source() == FolderSource(Path("/data"))


def test_repeats_are_settled_in_a_folder_and_in_a_query(tmp_path):
    folder = load(tmp_path, {**NEEDED, "source": {"folder": "/data", "repeats": "sum"}})
    assert folder.data_source() == FolderSource(Path("/data"), "sum")
    query = {"sql": {"url": "sqlite:////x.db", "query": "SELECT 1"}, "repeats": "first"}
    assert load(tmp_path, {**NEEDED, "source": query}).data_source() == SqlSource(
        "sqlite:////x.db", "SELECT 1", "first"
    )
    with pytest.raises(InvalidConfig, match=r"source"):
        load(tmp_path, {**NEEDED, "source": {"folder": "/data", "repeats": "last"}})


def test_the_file_is_in_the_home_unless_another_is_named(home):
    with pytest.raises(InvalidConfig, match=r"silo\.example\.yaml") as error:
        load_silo_settings()
    assert str(home / "silo.yaml") in error.value.what
    home.mkdir()
    (home / "silo.yaml").write_text(yaml.safe_dump(NEEDED), encoding="utf-8")
    assert load_silo_settings().name == "ash"


def test_a_folder_may_be_named_by_variables(tmp_path, home, monkeypatch):
    monkeypatch.setenv("SHOP", "north")
    settings = load(tmp_path, {**NEEDED, "source": {"folder": "$FEDREC_HOME/$SHOP/../south"}})
    assert settings.data_source() == FolderSource(home / "south")


def test_a_query_is_taken_unchanged(tmp_path):
    query = "SELECT user_id, item_id FROM t WHERE title LIKE '%a:b%' -- 100%"
    url = "postgresql+psycopg://fedrec@db.example.org:5432/shop?sslmode=require&passfile=/run/pgpass"
    settings = load(tmp_path, {**NEEDED, "source": {"sql": {"url": url, "query": query}}})
    assert settings.data_source() == SqlSource(url, query)


def test_the_example_is_valid_and_shows_every_key():
    settings = load_silo_settings(EXAMPLE)
    assert settings.data_source() == FolderSource(Path("/srv/shop/interactions"))
    assert settings.has_gateway
    text = EXAMPLE.read_text(encoding="utf-8")
    # The addresses of a silo with a worker of Prefect are commented out.
    text = text.replace("# prefect_api_url:", "prefect_api_url:").replace("# exchange:", "exchange:")
    shown = yaml.safe_load(text)
    assert not SiloSettings.model_validate(shown).has_gateway
    assert set(shown) == set(SiloSettings.model_fields)
    assert set(shown["policy"]) == set(SiloSettings.model_fields["policy"].annotation.model_fields)
    # The query's keys are commented out. Without the marks they are the other source.
    start = text.index("  # sql:")
    lines = text[start : text.index("\n\n", start)].replace("  # ", "  ")
    other = {**shown, "source": yaml.safe_load(lines)}
    assert SiloSettings.model_validate(other).source.sql is not None


@pytest.mark.parametrize(
    ("raw", "key", "near"),
    [
        ({**NEEDED, "sourse": {}}, "sourse", "source"),
        ({**NEEDED, "source": {"folders": "/data"}}, "source.folders", "source.folder"),
        ({**NEEDED, "source": {"sql": {"quary": "x"}}}, "source.sql.quary", "source.sql.query"),
        ({**NEEDED, "policy": {"min_user": 3}}, "policy.min_user", "policy.min_users"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_one(tmp_path, raw, key, near):
    with pytest.raises(InvalidConfig, match=r"silo\.yaml: unknown key") as error:
        load(tmp_path, raw)
    assert (error.value.key, error.value.next_step) == (key, f"Did you mean {near}?")


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"name": "Ash"}, "name"),
        ({"name": "../ash"}, "name"),
        ({"name": "ash\n"}, "name"),
        ({"prefect_api_url": "127.0.0.1:4200"}, "prefect_api_url"),
        ({"exchange": "/srv/exchange"}, "exchange"),
        ({"exchange": "file://srv/exchange"}, "exchange"),
        ({"source": {}}, "source"),
        ({"source": {"folder": "/data", "sql": {"url": "sqlite://", "query": "x"}}}, "source"),
        ({"source": {"sql": {"url": "sqlite://"}}}, "source.sql.query"),
        ({"source": {"folder": ""}}, "source.folder"),
        ({"policy": {"may_leave": ["users"]}}, "policy.may_leave.0"),
        ({"policy": {"max_update_bytes": 0}}, "policy.max_update_bytes"),
        ({"policy": {"min_users": 0}}, "policy.min_users"),
    ],
)
def test_a_value_out_of_range_names_its_key(tmp_path, change, key):
    with pytest.raises(InvalidConfig) as error:
        load(tmp_path, {**NEEDED, **change})
    assert error.value.key == key


@pytest.mark.parametrize(
    "raw",
    [
        sql(f"postgresql+psycopg://fedrec:{SECRET}@host/shop"),
        sql(f"postgresql+psycopg://fedrec:{SECRET}/x@host:port/shop"),
        sql(f"postgresql+psycopg://host/shop?user=fedrec&password={SECRET}"),
        sql(f"postgresql+psycopg://fedrec@host/shop?sslpassword={SECRET}"),
        sql(f"mssql+pyodbc:///?odbc_connect=DRIVER%3DX%3BUID%3Du%3BPWD%3D{SECRET}"),
        {**NEEDED, "source": f"postgresql://fedrec:{SECRET}@host/shop"},
        {**NEEDED, "source": {"sql": {"url": "postgresql://h/d", "query": "x", "password": SECRET}}},
        {**NEEDED, "exchange": f"sftp://fedrec:{SECRET}@host/exchange"},
        {**NEEDED, "prefect_api_url": f"https://admin:{SECRET}@host/api"},
        f"source:\n  sql:\n    url: postgresql://u:{SECRET}: @host/shop\n",
    ],
)
def test_a_password_is_refused_and_never_shown(tmp_path, raw):
    with pytest.raises(InvalidConfig) as error:
        load(tmp_path, raw)
    if isinstance(raw, dict):
        assert "contains a password" in error.value.what
        assert "FEDREC_SOURCE_PASSWORD" in error.value.next_step
    seen: BaseException | None = error.value
    while seen is not None:
        assert SECRET not in f"{seen} {seen.args} {vars(seen)}"
        seen = seen.__cause__


def test_no_value_of_the_source_is_shown(tmp_path):
    with pytest.raises(InvalidConfig) as error:
        load(tmp_path, {**NEEDED, "source": f"whatever {SECRET}"})
    assert error.value.key == "source"
    assert SECRET not in str(error.value)
    assert error.value.__cause__ is None
