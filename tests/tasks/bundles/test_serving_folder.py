"""Each model has its own folder in the home, whatever its name."""

from __future__ import annotations

import json

import pytest

from tasks.bundles.pointer import Pointer, pointer_path, read_pointer, write_pointer
from tasks.bundles.serving_folder import published_models, remove_shared_layout, serving_folder
from tasks.local.folder_name import folder_name
from tasks.local.home import Home
from tests.worlds.served import put_bundle

NAMES = [
    *(
        "movies",
        "fedrec-ml-100k",
        "v1.2_b",
        "Movies",
        "MOVIES",
        "movies ",
        " movies",
        "mo vies",
        "..",
        ".",
        "...",
    ),
    *(
        "../../etc",
        "/etc",
        "a/b",
        "a\\b",
        "a:b",
        "-model",
        "~",
        "film\u00e9",
        "filme\u0301",
        "\u6620\u753b",
        "\ud800",
    ),
    *("line\nbreak", "nul\0byte", "current.json", "users", "%2e%2e", "x" * 100, "x" * 101, "x" * 5000),
    # The name of another's folder.
    folder_name("Movies"),
]


def test_every_name_has_a_folder_of_its_own_inside_the_home(tmp_path):
    home = Home(tmp_path)
    folders = [serving_folder(home, name) for name in NAMES]

    # Also on file systems that ignore case.
    assert len({str(folder).lower() for folder in folders}) == len(NAMES)
    for folder in folders:
        folder.mkdir(parents=True)
        assert folder.resolve().parent == (tmp_path / "serving").resolve()
    silos = {serving_folder(home, name, silo) for name in NAMES[:9] for silo in NAMES}
    assert len(silos | set(folders)) == 10 * len(NAMES)
    assert all(tmp_path in silo.resolve().parents for silo in silos)


@pytest.mark.parametrize("name", ["movies", "fedrec-ml-100k", "v1.2_b", "42"])
def test_a_plain_name_is_kept(name):
    assert folder_name(name) == name


def test_published_models_are_named_by_their_bundles(tmp_path):
    home = Home(tmp_path)
    assert published_models(home) == []
    for name in ("some folder", "other"):
        write_pointer(home.serving / name, Pointer(put_bundle(home.serving / name)))
    (home.serving / "empty").mkdir()
    (home.serving / "odd").mkdir()
    pointer_path(home.serving / "odd").write_text("[]")
    manifest = home.serving / "other" / "1-x" / "bundle.json"
    manifest.write_text(json.dumps({"facts": {"model_name": "Books & more"}}))

    assert published_models(home) == ["Books & more", "movies"]


def test_what_was_published_for_all_models_together_is_removed(tmp_path):
    home = Home(tmp_path)
    root = home.serving
    write_pointer(root, Pointer(put_bundle(root), put_bundle(root, 2)))
    for name in ("users/1-x/users.json", "tallies/1.json", "nudge", "publisher.json"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("{}")
    kept = Pointer(put_bundle(root / "movies"))
    write_pointer(root / "movies", kept)
    write_pointer(root / "tallies", kept)  # a model of that name

    assert remove_shared_layout(home)
    assert sorted(path.name for path in root.iterdir()) == ["movies", "tallies"]
    assert read_pointer(root / "movies") == kept
    assert not remove_shared_layout(home)
