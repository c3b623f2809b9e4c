"""The layers hold: who may import whom, and what nobody may."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("models", "data_contracts", "tasks", "flows", "serving")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
# Their readers execute what they read.
UNSAFE = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


def imports_of(path: Path) -> Iterator[str]:
    """Top-level names of every module that a file imports, also inside functions and by `importlib`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module).partition(".")[0]
        elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
            yield from (
                str(each.value).partition(".")[0] for each in node.args if isinstance(each, ast.Constant)
            )


def test_the_contracts_of_import_linter_are_kept():
    found = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert re.search(r"Contracts: [1-9]\d* kept, 0 broken", found.stdout)


def test_every_package_has_sources():
    assert {path.relative_to(ROOT).parts[0] for path in SOURCES} == set(PACKAGES)
    assert len(SOURCES) > 50


def test_no_folder_holds_more_than_fifteen_modules():
    folders = Counter(
        path.parent for top in (*PACKAGES, "tests", "benchmarks") for path in (ROOT / top).rglob("*.py")
    )
    assert {str(folder): count for folder, count in folders.items() if count > 15} == {}


def test_lightfm_is_known_to_one_file():
    users = [path.relative_to(ROOT).as_posix() for path in SOURCES if "lightfm" in imports_of(path)]
    assert users == ["models/recommenders/lightfm/training.py"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_is_pickled_and_no_file_is_too_long(path):
    assert not UNSAFE & set(imports_of(path))
    assert len(path.read_text().splitlines()) <= 400


def test_the_core_knows_no_clock_disk_network_or_global_randomness():
    forbidden = {
        "time",
        "datetime",
        "os",
        "pathlib",
        "io",
        "socket",
        "subprocess",
        "urllib",
        "http",
        "random",
    }
    for path in SOURCES:
        if path.is_relative_to(ROOT / "models"):
            assert not forbidden & set(imports_of(path)), path
            calls = {
                ast.unparse(n.func) for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)
            }
            assert not {"open", "print", "input", "np.random.seed", "np.random.default_rng"} & calls, path
