"""`fedrec bench` as a user calls it, on a small world whose signal is easy to check."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.settings.quality_config import load_quality_config, plans
from flows.terminal.table_options import CONFIG
from models.errors import InvalidConfig

SMALL = {
    "seeds": [1],
    "lightfm_silos": {"rounds": 2, "train": {"dims": 4}},
    "lightfm_users": {"rounds": 2, "train": {"dims": 4}},
    "lightfm_pooled": {"epochs": 2, "train": {"dims": 4}},
    "ials": {"dims": 4},
    "ials_rounds": 2,
    "baselines": {"dims": 4, "epochs": 5},
}


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """Return a file with the same small settings for every protocol."""
    path = tmp_path / "quality.yaml"
    path.write_text(yaml.safe_dump(dict.fromkeys(load_names(), SMALL)))
    return path


def load_names() -> tuple[str, ...]:
    return ("leave_one_out", "random_70_30", "temporal_70_30")


def bench(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flows", "bench", *arguments]
    environ = os.environ | {"FEDREC_HOME": str(home)}
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def measured(
    home: Path, document: Path, marks: tuple[str, str], *arguments: str
) -> tuple[list[dict[str, Any]], str, str]:
    """Return the rows, the messages and the document of a quick `fedrec bench` that ends well.

    The result is one JSON object on the standard output. The document's table lies between the marks.
    """
    document.write_text("<!-- {} -->\n<!-- {} -->\n".format(*marks))
    done = bench(home, *arguments, "--quick", "--json", "--markdown", str(document))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result.get("part", "test") == "test"
    assert result["quick"]
    return result["rows"], done.stderr, document.read_text()


def test_quick_prints_one_json_object_and_writes_the_table(tmp_path, home, partition_dir, settings):
    marks = ("table: fedrec bench quality", "end of table")
    arguments = ("quality", "--data", str(partition_dir), "--config", str(settings))
    rows, messages, text = measured(home, tmp_path / "quality.md", marks, *arguments)
    assert {row["family"] for row in rows} == {
        *("popularity", "item_knn", "user_knn", "bpr_mf"),
        *("lightfm", "ials", "ease", "next_item", "blend"),
    }
    assert {row["arm"] for row in rows} == {"federated", "centralised"}
    assert {(row["dataset"], row["clients"]) for row in rows} == {("partition", 3)}
    assert "leave_one_out, test: blend, 3 clients, federated" in messages
    assert "| blend | federated |" in text


def test_with_the_leak_items_that_were_never_drawn_are_the_held_out_ones(home, partition_dir):
    done = bench(home, "leak", "--epochs", "1", "--json", "--data", str(partition_dir))
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    counted = {
        row["variant"]: row["value"]
        for row in rows
        if row["what"].startswith("no model") and row["metric"] == "loo_hr@10"
    }
    # 30 negatives: with the leak only the held-out items are never drawn, without it any item is.
    assert counted["leaky"] == 1.0
    assert counted["honest"] < 0.8
    assert {row["variant"] for row in rows} >= {"in order of time", "in random order"}


def test_attacks_prints_one_json_object_and_writes_the_tables(tmp_path, home, partition_dir):
    document = tmp_path / "privacy.md"
    document.write_text("<!-- table: fedrec bench attacks -->\n<!-- end of table -->\n")
    done = bench(
        home,
        "attacks",
        "--quick",
        "--liars",
        "5",
        "--json",
        "--data",
        str(partition_dir),
        "--markdown",
        str(document),
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert {(row["part"], row["family"]) for row in rows} == {
        ("reading", "lightfm"),
        ("reading", "dp_items"),
        ("reading", "dp_items, epsilon 8"),
        ("reading", "dp_items, epsilon 1"),
        ("poisoning", "lightfm"),
    }
    assert "lightfm, none, 5 liars by largest bias: exposure 1.000" in done.stderr
    assert "| trimmed mean, 10 % | FedRecAttack |" in document.read_text()


def test_canaries_prints_one_json_object_and_writes_the_table(tmp_path, home):
    marks = ("table: fedrec bench canaries", "end of canary table")
    rows, messages, text = measured(home, tmp_path / "privacy.md", marks, "canaries", "--epsilon", "6")
    assert [(row["epsilon"], row["noise"]) for row in rows] == [(6.0, 1.0), (6.0, 0.1)]
    assert rows[0]["sums_gaussian"] < 6.0 < rows[1]["sums_gaussian"]
    assert "epsilon 6, 1 of its noise: 60 trainings with the canary" in messages
    assert "| 6 | as claimed | " in text


def test_an_unknown_family_is_refused_with_the_known_ones(home, partition_dir, settings):
    done = bench(home, "quality", "--data", str(partition_dir), "--config", str(settings), "--family", "ncf")
    assert done.returncode == 2
    assert "'ncf' cannot be measured. Choose from blend, bpr_mf, ease" in done.stderr


def test_the_shipped_settings_cover_every_protocol():
    config = load_quality_config(CONFIG)
    assert [plan.protocol.name for plan in plans(config, quick=False)] == list(load_names())
    quick = plans(config, quick=True)
    assert [(plan.protocol.name, len(plan.seeds), len(plan.users)) for plan in quick] == [
        ("leave_one_out", 1, 0)
    ]


def test_only_the_chosen_families_and_protocols_are_planned(settings):
    found = plans(
        load_quality_config(settings),
        quick=False,
        protocols=["temporal_70_30"],
        families=["ease", "popularity"],
    )
    assert [plan.protocol.name for plan in found] == ["temporal_70_30"]
    assert [family.name for family in (*found[0].silos, *found[0].users)] == ["ease", "ease"]
    assert found[0].baselines == ["popularity"]


def test_an_unknown_setting_is_refused(tmp_path):
    path = tmp_path / "quality.yaml"
    path.write_text(yaml.safe_dump({name: SMALL | {"eas": {}} for name in load_names()}))
    with pytest.raises(InvalidConfig, match=r"leave_one_out\.eas\. Did you mean leave_one_out\.ease"):
        load_quality_config(path)


def test_cold_start_prints_one_json_object_and_writes_the_tables(tmp_path, home, coloured_dir, settings):
    marks = ("table: fedrec bench cold-start", "end of cold-start table")
    data = ("--data", str(coloured_dir), "--config", str(settings))
    families = ("--family", "ease", "--family", "lightfm")
    rows, _, text = measured(home, tmp_path / "quality.md", marks, "cold-start", *families, *data)
    assert {row["protocol"] for row in rows} == {"new_items", "new_users"}
    assert {row["family"] for row in rows} >= {"ease", "lightfm", "popularity", "content"}
    assert "| ease | trained_in | 20 |" in text


def test_an_unknown_cold_start_is_refused_with_the_known_ones(home, coloured_dir, settings):
    data = ("--data", str(coloured_dir), "--config", str(settings))
    done = bench(home, "cold-start", "--protocol", "new_planets", *data)
    assert done.returncode != 0
    assert "Choose from new_items, new_silos, new_users." in done.stderr


def test_without_a_package_index_secure_says_so_before_it_measures(home, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    done = bench(home, "secure", "--quick", "--flower", "--json")
    assert done.returncode != 0
    assert "flwr==" in done.stderr
    assert "leave out --flower" in done.stderr
    assert "Sums of" not in done.stderr
