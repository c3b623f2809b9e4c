"""`fedrec data` as a user calls it: arguments, output, exit codes."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flows.cli import cli, main
from flows.settings.starting_config import name_for
from flows.settings.training_config import load_config, parse_config
from models.errors import InvalidConfig, InvalidInput
from tasks.datasets.client_assignment import ByUser
from tasks.datasets.partition import make_partition

PARTITION = ("partition", "--interactions", "interactions.csv", "--out", "out")
Run = Callable[..., subprocess.CompletedProcess[str]]
INTERACTIONS = "user_id,item_id,rating,timestamp\nu1,a,4,10\nu2,b,5,20\nu1,b,3,30\n"
ITEMS = "item_id,title\na,Alien\nb,Brazil\n"
USERS = "user_id,work\nu1,nurse\nu2,pilot\n"
FETCHED = {"interactions.csv": INTERACTIONS, "items.csv": ITEMS, "users.csv": USERS}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FETCHED.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def fedrec(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"FEDREC_HOME": str(folder / "home")}
    command = [sys.executable, "-c", "from flows.cli import main; main()", "data", *arguments]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)


def partition(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return fedrec(folder, *PARTITION, *arguments)


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run `fedrec data` in this process, which is much faster than another one."""
    monkeypatch.chdir(folder)
    handler = signal.getsignal(signal.SIGTERM)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["fedrec", "data", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return subprocess.CompletedProcess(arguments, ended.value.code, *capsys.readouterr())

    yield run
    signal.signal(signal.SIGTERM, handler)


def test_partition_prints_one_json_object(folder):
    done = partition(folder, "--items", "items.csv", "--users", "users.csv", "--by", "work", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["clients"] == [
        {"id": "nurse", "users": 1, "interactions": 2},
        {"id": "pilot", "users": 1, "interactions": 1},
    ]
    assert (result["users"], result["items"], result["interactions"]) == (2, 2, 3)
    manifest = json.loads((folder / "out" / "partition.json").read_text(encoding="utf-8"))
    assert result["folder"] == str(folder / "out")
    assert result["digest"] == manifest["digest"]
    assert result["catalog_digest"] == manifest["catalog"]["digest"]


def test_partition_names_the_next_command(folder):
    done = partition(folder, "--by-user")
    assert done.returncode == 0, done.stderr
    assert "2 clients with 2 users and 3 interactions of 2 items" in done.stdout
    assert "smallest user-u2 (1), largest user-u1 (2)" in done.stdout
    *_, config, train = done.stdout.splitlines()
    assert config == f"  fedrec data config {folder / 'out'} --out out.yaml"
    assert train == "  fedrec train --config out.yaml"


def test_a_partition_that_has_a_configuration_is_trained_next(folder, run):
    again = ["partition", "--interactions", "interactions.csv", "--by-user", "--out", "out", "--force"]
    (folder / "out.yaml").write_text("data:\n  dir: elsewhere\n", encoding="utf-8")
    assert "fedrec data config" in run(*again).stdout

    (folder / "out.yaml").write_text("data:\n  dir: out\n", encoding="utf-8")

    assert run(*again).stdout.endswith("Next:\n  fedrec train --config out.yaml\n")


def test_partition_says_what_it_found_and_what_will_not_work(folder, run):
    lines = [
        f"u{user},{item},{rating},{rating}" for user in range(2) for item, rating in (("a", -5), ("b", 11))
    ]
    (folder / "interactions.csv").write_text("\n".join(["user_id,item_id,rating,timestamp", *lines]) + "\n")
    (folder / "items.csv").write_text(
        "item_id,title,genres,price\na,A,War;Drama,2.5\nb,B,War,\n", encoding="utf-8"
    )
    arguments = ("--items", "items.csv", "--random", "1", "--labels-split", "genres=;")

    def again(*further: str) -> subprocess.CompletedProcess[str]:
        return run(*PARTITION, *arguments, *further)

    shown = again()
    assert shown.returncode == 0, shown.stderr
    for line in (
        "ratings: -5 to 11",
        "times: 1969-12-31 to 1970-01-01",
        "  genres  2 labels, split at ';': 'War', 'Drama'",
        "  price   numbers from 2.5 to 2.5; 1 of 2 items have none",
    ):
        assert f"\n{line}\n" in shown.stdout
    assert "Note: Ratings are from -5 to 11, but" in shown.stdout
    limits = "min_rating=-5.0 --set contracts.interactions.max_rating=11.0"
    assert f"Train with --set contracts.interactions.{limits}." in shown.stdout
    result = json.loads(again("--leave-out", "price", "--force", "--json").stdout)
    assert [(each["name"], each["kind"]) for each in result["columns"]] == [
        ("genres", "labels"),
        ("price", "left out"),
    ]
    assert (result["report"]["users"], result["report"]["ratings"]) == (2, [-5.0, 11.0])
    assert len(result["warnings"]) == 4


def test_the_items_of_silos_are_judged_by_the_same_rules(folder, run):
    (folder / "items.csv").write_text('item_id,by\na,"Smith, John"\nb,"Doe, Jo"\n', encoding="utf-8")
    made = run("items", "--items", "items.csv", "--out", "i.parquet", "--labels-split", "by=none")
    assert made.returncode == 0, made.stderr
    assert "  by  2 labels: 'Doe, Jo', 'Smith, John'\n" in made.stdout
    assert f"data.items to {folder / 'i.parquet'}" in made.stdout
    assert run(*PARTITION, "--items", "i.parquet", "--by-user").returncode == 0
    refused = run("items", "--items", "items.csv", "--out", "items.csv")
    assert refused.returncode == 2
    assert ".parquet" in refused.stderr
    assert (folder / "items.csv").read_text().startswith("item_id,by")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--labels-split", "genres"], "takes COLUMN=SEP"),
        (["--labels-split", "genres="], "takes COLUMN=SEP"),
        (["--labels-split", "=,"], "takes COLUMN=SEP"),
        (["--labels-split", "title=,"], "--labels-split names the column 'title'"),
        (["--labels-split", "a=,", "--labels-split", "a=;"], "names the column 'a' twice"),
    ],
)
def test_options_of_columns_are_checked(folder, run, arguments, complaint):
    done = run(*PARTITION, "--items", "items.csv", "--by-user", *arguments)
    assert done.returncode == 2
    assert complaint in done.stderr
    without = run(*PARTITION, "--by-user", *arguments)
    assert without.returncode == 2
    assert "give --items" in without.stderr


def test_repeats_are_merged_by_an_option(folder, run):
    (folder / "interactions.csv").write_text(INTERACTIONS + "u1,b,1,40\n", encoding="utf-8")
    refused = run(*PARTITION, "--by-user")
    assert refused.returncode == 2
    assert "--repeats latest" in refused.stderr
    merged = json.loads(run(*PARTITION, "--by-user", "--repeats", "sum", "--json").stdout)
    assert (merged["interactions"], merged["report"]["repeats"]) == (3, 1)


def test_partition_at_random_with_a_seed(folder):
    done = partition(folder, "--random", "2", "--seed", "3", "--json")
    result = json.loads(done.stdout)
    assert result["by"] == "random:2:seed=3"
    assert [each["id"] for each in result["clients"]] == ["silo-01", "silo-02"]


@pytest.mark.parametrize("arguments", [[], ["--by", "work", "--by-user"], ["--by-user", "--random", "2"]])
def test_exactly_one_way_to_split_is_required(folder, arguments):
    done = partition(folder, *arguments)
    assert done.returncode == 2
    assert "exactly one of --by COLUMN, --by-user and --random N" in done.stderr
    assert not (folder / "out").exists()


def test_a_split_into_zero_clients_is_refused(folder):
    done = partition(folder, "--random", "0")
    assert done.returncode == 2
    assert "--random" in done.stderr


def test_bad_input_is_one_message_and_exit_code_2(folder):
    (folder / "interactions.csv").write_text(INTERACTIONS + "u1,b,1,1\n", encoding="utf-8")
    done = partition(folder, "--by-user", "--json")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "interactions.csv, row 5: user 'u1' and item 'b' already occur together in row 4" in done.stderr
    assert json.loads(done.stdout)["error"]["type"] == "InvalidInput"
    assert sorted(path.name for path in folder.iterdir()) == sorted(FETCHED)


def test_force_replaces_a_partition(folder):
    assert partition(folder, "--by-user").returncode == 0
    refused = partition(folder, "--random", "1")
    assert refused.returncode == 2
    assert "--force" in refused.stderr
    done = partition(folder, "--random", "1", "--force", "--json")
    assert [each["id"] for each in json.loads(done.stdout)["clients"]] == ["silo-01"]


def test_fetch_keeps_intact_files_in_the_default_folder(folder):
    raw = folder / "home" / "data" / "ml-100k-raw"
    raw.mkdir(parents=True)
    for name, text in FETCHED.items():
        (raw / name).write_text(text, encoding="utf-8")
    files = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in FETCHED.items()}
    (raw / "source.json").write_text(
        json.dumps({"source": "a test", "form": 2, "files": files}), encoding="utf-8"
    )
    done = fedrec(folder, "fetch", "ml-100k", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "folder": str(raw),
        "source": "a test",
        "downloaded": False,
        "files": files,
    }
    shown = fedrec(folder, "fetch", "ml-100k")
    assert "; nothing was downloaded" in shown.stdout
    assert f"--by occupation --out {raw.parent / 'ml-100k'}" in shown.stdout


def test_an_archive_with_a_wrong_digest_is_refused(folder):
    done = fedrec(folder, "fetch", "ml-100k", "--archive", "items.csv", "--out", "raw", "--json")
    assert done.returncode == 2
    assert "items.csv is neither the archive" in done.stderr
    assert json.loads(done.stdout)["error"]["type"] == "InvalidInput"
    assert not (folder / "raw").exists()


def test_help_imports_nothing_heavy(folder):
    code = (
        "import sys; from click.testing import CliRunner; from flows.cli import cli\n"
        "shown = CliRunner().invoke(cli, ['data', 'partition', '--help'])\n"
        "assert shown.exit_code == 0 and '--by-user' in shown.output, shown.output\n"
        "print(sorted({'pandas', 'numpy', 'pyarrow', 'prefect', 'mlflow'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "[]", done.stderr


@pytest.fixture
def made(folder: Path) -> Path:
    """Return a partition whose ratings are from -10 to 90."""
    rows = "user_id,item_id,rating\nu1,a,-10\nu1,b,90\nu2,a,5\n"
    (folder / "jokes.csv").write_text(rows)
    return make_partition(folder / "jokes.csv", folder / "Jokes & Co. Ü", ByUser()).root


def config_of(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["data", "config", *map(str, arguments)], standalone_mode=False)


def test_a_first_configuration_pools_nothing_and_accepts_the_ratings(made, folder):
    out = folder / "job.yaml"
    done = config_of(made, "--out", out)
    assert done.exception is None
    assert done.stdout == f"Wrote {out}.\nNext: fedrec train --config {out}\n"
    config = load_config(out)
    assert (config.name, config.model_name) == ("jokes-co-u", "jokes-co-u")
    assert config.data.dir == str(made)
    assert config.evaluation.pooling_allowed is False
    limits = config.contracts.interactions
    assert (limits.min_rating, limits.max_rating) == (-10, 90)


def test_a_first_configuration_is_otherwise_the_defaults(folder):
    root = make_partition(folder / "interactions.csv", folder / "plain", ByUser()).root
    assert config_of(root, "--out", folder / "job.yaml", "--name", "other").exception is None
    needed = {"name": "other", "model_name": "other", "data": {"dir": str(root)}}
    assert load_config(folder / "job.yaml") == parse_config(needed, "the test")


def test_an_existing_configuration_is_kept_unless_forced(made, folder):
    out = folder / "job.yaml"
    out.write_text("mine")
    assert isinstance(config_of(made, "--out", out).exception, InvalidInput)
    assert out.read_text() == "mine"
    assert config_of(made, "--out", out, "--force").exception is None
    assert load_config(out).name == "jokes-co-u"


@pytest.mark.parametrize("name", ["Upper", "a b", "", "a" * 65])
def test_a_wrong_name_writes_nothing(made, folder, name):
    done = config_of(made, "--out", folder / "job.yaml", "--name", name)
    assert isinstance(done.exception, InvalidConfig)
    assert not (folder / "job.yaml").exists()


def test_a_place_that_cannot_be_written_is_an_error(made, folder):
    (folder / "file").write_text("")
    done = config_of(made, "--out", folder / "file" / "job.yaml")
    assert isinstance(done.exception, InvalidInput)
    assert "cannot be written" in str(done.exception)


@pytest.mark.parametrize(
    ("folder_name", "expected"),
    [
        ("shops", "shops"),
        ("Jokes & Co.", "jokes-co"),
        ("Übergröße", "ubergroe"),
        ("上海", "job"),
        ("-", "job"),
        ("a" * 63 + "-b", "a" * 63),
    ],
)
def test_a_name_is_like_the_folder_s(folder_name, expected):
    assert name_for(Path(folder_name)) == expected
