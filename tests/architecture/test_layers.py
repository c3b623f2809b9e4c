"""The layers: which folder may import which, and what no module may do."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("models", "data_contracts", "tasks", "flows", "serving")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
KNOWN = frozenset(SOURCES)
# Their readers execute what they read.
UNSAFE = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


def imports_of(path: Path) -> Iterator[str]:
    """Yield the top-level names of all that a file imports, also inside functions and by `importlib`."""
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


def imported_modules(path: Path) -> Iterator[Path]:
    """Yield the files of this project that a file imports, also inside functions and for type checking."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            # A name may be a module of the package, or something that the package's own file defines.
            names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            place = ROOT.joinpath(*name.split("."))
            yield from (file for file in (place.with_suffix(".py"), place / "__init__.py") if file in KNOWN)


def folder_of(path: Path) -> str:
    return path.parent.relative_to(ROOT).as_posix()


def folders_imported() -> dict[str, set[str]]:
    """Return for every folder the other folders that its modules import."""
    found: dict[str, set[str]] = {}
    for path in SOURCES:
        # A package's `__init__` re-exports what lies below it; the modules below do not import it.
        if path.name != "__init__.py":
            others = {folder_of(file) for file in imported_modules(path) if file.name != "__init__.py"}
            found.setdefault(folder_of(path), set()).update(others - {folder_of(path)})
    return found


def circle_in(imported: Mapping[str, set[str]]) -> list[str]:
    """Return the folders of one circle of imports in their order, or nothing if there is none."""
    without_circle: set[str] = set()

    def walk(folder: str, way: list[str]) -> list[str]:
        if folder in way:
            return [*way[way.index(folder) :], folder]
        if folder not in without_circle:
            for other in sorted(imported.get(folder, ())):
                if circle := walk(other, [*way, folder]):
                    return circle
            without_circle.add(folder)
        return []

    return next((circle for folder in sorted(imported) if (circle := walk(folder, []))), [])


def test_no_folders_import_each_other_in_a_circle():
    imported = folders_imported()
    assert "tasks/messages" in imported["tasks/coordinator"]
    assert circle_in(imported) == []


def test_a_circle_of_folders_is_found_wherever_the_search_begins():
    assert circle_in({"a": {"b"}, "b": {"c", "e"}, "c": {"d"}, "d": {"b"}, "e": set()}) == [
        "b",
        "c",
        "d",
        "b",
    ]
    assert circle_in({"a": {"b", "c"}, "b": {"c"}}) == []


def test_no_two_public_classes_have_one_name():
    places: dict[str, list[str]] = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(path.relative_to(ROOT).as_posix())
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def test_no_folder_holds_more_than_fifteen_modules():
    folders = Counter(
        path.parent for top in (*PACKAGES, "tests", "benchmarks") for path in (ROOT / top).rglob("*.py")
    )
    assert {str(folder): count for folder, count in folders.items() if count > 15} == {}


def test_one_file_imports_lightfm():
    users = [path.relative_to(ROOT).as_posix() for path in SOURCES if "lightfm" in imports_of(path)]
    assert users == ["models/recommenders/lightfm/training.py"]


def test_dask_and_ray_are_imported_in_one_file_when_they_are_chosen():
    clusters = {"dask", "distributed", "prefect_dask", "ray", "prefect_ray"}
    users = [path for path in SOURCES if clusters & set(imports_of(path))]
    assert users == [ROOT / "flows" / "runners" / "clusters.py"]
    body = ast.parse(users[0].read_text()).body
    at_once = ast.unparse([node for node in body if isinstance(node, ast.Import | ast.ImportFrom)])
    assert "prefect.tasks" in at_once
    assert not any(re.search(rf"\b{name}\b", at_once) for name in clusters)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_is_pickled_and_no_file_is_too_long(path):
    assert not UNSAFE & set(imports_of(path))
    assert len(path.read_text().splitlines()) <= 400


def test_the_core_uses_no_clock_disk_network_or_global_randomness():
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
