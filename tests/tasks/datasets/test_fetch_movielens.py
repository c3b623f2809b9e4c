"""Fetching MovieLens-100K: both sources in small, from a real server and a real `pip download`."""

from __future__ import annotations

import base64
import hashlib
import http.server
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.errors import InvalidInput, SourceUnavailable
from tasks.datasets.movielens.fetch import Fetched, Sources, fetch_ml_100k

# An ordinary item, the one without a title, one with accents, one with a suffix.
U_DATA = "196\t543\t3\t881250949\n186\t1\t5\t891717742\n196\t1412\t1\t881250949\n"
U_ITEM = """\
1|Toy Story (1995)|01-Jan-1995||http://x/Toy%20Story%20(1995)|0|0|0|1|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0
267|unknown||||1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0
543|Misérables, Les (1995)|01-Jan-1995||http://x/|0|0|0|0|0|0|0|0|1|0|0|0|1|0|0|0|0|0|0
1412|Land Before Time III (1995) (V)|01-Jan-1995||http://x/|0|0|0|1|1|0|0|0|0|0|1|0|0|0|0|1|0|0|0
"""
U_USER = "186|39|F|executive|00000\n196|49|M|writer|T8H1N\n"

INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + U_DATA
ITEM = """\
item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq
1\tToy Story\t1995\tAnimation Children's Comedy
267\tunkonwn\tunkonwn\tunknown
543\tMisérables, Les\t1995\tDrama Musical
1412\tLand Before Time III (1995)\tV\tAnimation Children's Film-Noir Sci-Fi
"""
USER = "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n" + U_USER.replace(
    "|", "\t"
)

INTERACTIONS_CSV = """\
user_id,item_id,rating,timestamp
196,543,3,881250949
186,1,5,891717742
196,1412,1,881250949
"""
ITEMS_CSV = """\
item_id,title,year,genres
1,Toy Story (1995),1995,Animation|Children's|Comedy
267,unknown,,unknown
543,"Misérables, Les (1995)",1995,Drama|Musical
1412,Land Before Time III (1995) (V),1995,Animation|Children's|Film-Noir|Sci-Fi
"""
USERS_CSV = """\
user_id,age,gender,occupation,zip_code
186,39,F,executive,00000
196,49,M,writer,T8H1N
"""


def zipped(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            # A fixed time: `writestr(name, ...)` takes the clock's, so two calls would differ.
            archive.writestr(zipfile.ZipInfo(name), content)
    return data.getvalue()


def grouplens_zip(item: str = U_ITEM, user: str = U_USER) -> bytes:
    texts = {"u.data": U_DATA, "u.item": item, "u.user": user}
    return zipped({f"ml-100k/{name}": text.encode("latin-1") for name, text in texts.items()})


def recbole_wheel(inter: str = INTER) -> bytes:
    """Return a wheel that pip accepts."""
    folder = "recbole/dataset_example/ml-100k/ml-100k"
    info = "recbole-1.2.1.dist-info"
    files = {
        f"{folder}.inter": inter.encode(),
        f"{folder}.item": ITEM.encode(),
        f"{folder}.user": USER.encode(),
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: recbole\nVersion: 1.2.1\nRequires-Dist: absent\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        record += f"{name},sha256={digest},{len(content)}\n"
    return zipped(files | {f"{info}/RECORD": f"{record}{info}/RECORD,,\n".encode()})


def sha256(data: str | bytes) -> str:
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


class Site:
    """A web site on this machine that serves a folder and counts its requests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[str] = []
        site = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args, **kwargs) -> None:
                super().__init__(*args, directory=str(folder), **kwargs)

            def log_message(self, *args: object) -> None:
                site.requests.append(self.path)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/ml-100k.zip"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    folder = tmp_path / "site"
    folder.mkdir()
    site = Site(folder)
    thread = threading.Thread(target=site.server.serve_forever)
    thread.start()
    yield site
    site.server.shutdown()
    thread.join()
    site.server.server_close()


@pytest.fixture
def sources(site: Site, tmp_path: Path) -> Sources:
    """Make both sources reachable: the site has the archive, a local folder the wheel."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (site.folder / "ml-100k.zip").write_bytes(grouplens_zip())
    (wheels / "recbole-1.2.1-py3-none-any.whl").write_bytes(recbole_wheel())
    return Sources(
        url=site.url,
        url_md5=hashlib.md5(grouplens_zip(), usedforsecurity=False).hexdigest(),
        timeout_s=5,
        wheel_sha256=sha256(recbole_wheel()),
        members={
            "ml-100k.inter": sha256(INTER),
            "ml-100k.item": sha256(ITEM),
            "ml-100k.user": sha256(USER),
        },
        pip_options=("--no-index", "--find-links", str(wheels), "--isolated"),
        pip_timeout_s=120,
    )


def take_down(site: Site) -> None:
    (site.folder / "ml-100k.zip").unlink()


def assert_normal(fetched: Fetched) -> None:
    texts = {"interactions.csv": INTERACTIONS_CSV, "items.csv": ITEMS_CSV, "users.csv": USERS_CSV}
    for name, text in texts.items():
        assert (fetched.folder / name).read_bytes().decode("utf-8") == text
        assert fetched.files[name] == sha256(text)
    assert sorted(path.name for path in fetched.folder.iterdir()) == sorted([*texts, "source.json"])


def test_the_official_archive_is_tried_first(site, sources, tmp_path):
    lines: list[str] = []
    fetched = fetch_ml_100k(tmp_path / "out", sources=sources, announce=lines.append)
    assert_normal(fetched)
    assert fetched.downloaded
    assert fetched.source == site.url
    assert lines == [f"Fetching MovieLens-100K from {site.url}"]


def test_the_wheel_gives_the_same_files_if_the_site_has_none(site, sources, tmp_path):
    take_down(site)
    lines: list[str] = []
    fetched = fetch_ml_100k(tmp_path / "out", sources=sources, announce=lines.append)
    assert_normal(fetched)
    assert fetched.source == "recbole==1.2.1 through pip"
    assert "404" in lines[1]


def test_intact_files_are_kept_without_a_download(site, sources, tmp_path):
    first = fetch_ml_100k(tmp_path / "out", sources=sources)
    requests = len(site.requests)
    again = fetch_ml_100k(tmp_path / "out", sources=sources)
    assert not again.downloaded
    assert (again.files, again.source) == (first.files, first.source)
    assert len(site.requests) == requests == 1


def test_files_of_the_older_form_are_converted_without_a_download(site, sources, tmp_path):
    out = tmp_path / "out"
    fetched = fetch_ml_100k(out, sources=sources)
    note = json.loads((out / "source.json").read_text())
    older = ITEMS_CSV.replace("|", " ")
    (out / "items.csv").write_bytes(older.encode())
    note["files"]["items.csv"] = sha256(older)
    del note["form"]
    (out / "source.json").write_text(json.dumps(note))
    again = fetch_ml_100k(out, sources=sources)
    assert_normal(again)
    assert (again.downloaded, again.source) == (False, fetched.source)
    assert fetch_ml_100k(out, sources=sources).files == again.files
    assert len(site.requests) == 1


def test_an_older_form_with_other_columns_is_fetched_again(sources, tmp_path):
    out = tmp_path / "out"
    fetch_ml_100k(out, sources=sources)
    note = json.loads((out / "source.json").read_text())
    (out / "items.csv").write_bytes(b"item_id,title\n1,A\n")
    note["files"]["items.csv"] = sha256("item_id,title\n1,A\n")
    del note["form"]
    (out / "source.json").write_text(json.dumps(note))
    fetched = fetch_ml_100k(out, sources=sources)
    assert fetched.downloaded
    assert_normal(fetched)


@pytest.mark.parametrize("damage", ["changed", "missing", "note"])
def test_damaged_files_are_fetched_again(sources, tmp_path, damage):
    out = tmp_path / "out"
    fetch_ml_100k(out, sources=sources)
    if damage == "changed":
        (out / "users.csv").write_text(USERS_CSV.replace("49", "50"), encoding="utf-8")
    elif damage == "missing":
        (out / "items.csv").unlink()
    else:
        (out / "source.json").write_text("{", encoding="utf-8")
    fetched = fetch_ml_100k(out, sources=sources)
    assert fetched.downloaded
    assert_normal(fetched)


def test_a_changed_archive_is_not_used(site, sources, tmp_path):
    (site.folder / "ml-100k.zip").write_bytes(grouplens_zip() + b"\0")
    lines: list[str] = []
    fetched = fetch_ml_100k(tmp_path / "out", sources=sources, announce=lines.append)
    assert fetched.source == "recbole==1.2.1 through pip"
    assert f"expected {sources.url_md5}" in lines[1]


def test_without_any_source_each_is_named_with_its_reason(site, sources, tmp_path):
    take_down(site)
    for wheel in (tmp_path / "wheels").iterdir():
        wheel.unlink()
    with pytest.raises(SourceUnavailable) as caught:
        fetch_ml_100k(tmp_path / "out", sources=sources)
    (url, site_reason), (pip, pip_reason) = caught.value.failures
    assert url == site.url
    assert pip == "recbole==1.2.1 through pip"
    assert "404" in site_reason
    assert "No matching distribution found for recbole==1.2.1" in pip_reason
    for fact in (url, site_reason, pip, pip_reason, "--archive FILE"):
        assert fact in str(caught.value)
    assert caught.value.exit_code == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site", "wheels"]


def test_an_absent_server_is_named(site, sources, tmp_path):
    unused = Sources(**{**vars(sources), "url": "http://127.0.0.1:9/ml-100k.zip"})
    lines: list[str] = []
    fetched = fetch_ml_100k(tmp_path / "out", sources=unused, announce=lines.append)
    assert "refused" in lines[1]
    assert fetched.source == "recbole==1.2.1 through pip"


def test_a_pip_that_takes_too_long_is_stopped(site, sources, tmp_path):
    take_down(site)
    with pytest.raises(SourceUnavailable, match="pip did not finish"):
        fetch_ml_100k(tmp_path / "out", sources=Sources(**{**vars(sources), "pip_timeout_s": 0.01}))


@pytest.mark.parametrize("kind", ["grouplens", "wheel"])
def test_an_archive_downloaded_by_hand_is_used(site, sources, tmp_path, kind):
    archive = tmp_path / "by-hand"
    archive.write_bytes(grouplens_zip() if kind == "grouplens" else recbole_wheel())
    fetched = fetch_ml_100k(tmp_path / "out", archive=archive, sources=sources)
    assert_normal(fetched)
    assert fetched.source == str(archive)
    assert site.requests == []


def test_an_archive_of_other_data_is_refused(sources, tmp_path):
    archive = tmp_path / "holiday.zip"
    archive.write_bytes(zipped({"beach.jpg": b"sun"}))
    with pytest.raises(InvalidInput, match=r"holiday\.zip is neither") as caught:
        fetch_ml_100k(tmp_path / "out", archive=archive, sources=sources)
    assert sources.url_md5 in str(caught.value)
    assert sources.wheel_sha256 in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_missing_archive_is_named(sources, tmp_path):
    with pytest.raises(InvalidInput, match=r"none\.zip cannot be read: No such file"):
        fetch_ml_100k(tmp_path / "out", archive=tmp_path / "none.zip", sources=sources)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (zipped({"ml-100k/u.data": b"1\t1\t1\t1\n"}), "There is no item named 'ml-100k/u.item'"),
        (b"not a zip", "not the expected archive"),
        (grouplens_zip(user="186|39|F|executive\n"), "a row of users.csv has 4 values, expected 5"),
        (grouplens_zip(item="1|Toy Story (1995)|01-Jan-1995||http://x|0|1\n"), "not in the expected form"),
    ],
)
def test_an_archive_with_the_right_checksum_and_wrong_content_is_refused(sources, tmp_path, data, complaint):
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(InvalidInput, match=complaint):
        fetch_ml_100k(
            tmp_path / "out", archive=tmp_path / "a.zip", sources=Sources(**{**vars(sources), "url_md5": md5})
        )
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_wheel_is_checked_against_its_own_checksum(sources, tmp_path):
    wheel = recbole_wheel(inter=INTER.replace("\t5\t", "\t4\t"))
    (tmp_path / "a.whl").write_bytes(wheel)
    other = Sources(**{**vars(sources), "wheel_sha256": sha256(wheel)})
    with pytest.raises(InvalidInput, match=f"of ml-100k.inter, expected {sha256(INTER)}"):
        fetch_ml_100k(tmp_path / "out", archive=tmp_path / "a.whl", sources=other)


def test_a_folder_with_other_files_is_left_alone(sources, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InvalidInput, match="left unchanged"):
        fetch_ml_100k(out, sources=sources)
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]


def test_the_published_checksums_are_well_formed():
    known = Sources()
    assert len(known.url_md5) == 32
    assert {len(each) for each in (known.wheel_sha256, *known.members.values())} == {64}
    # Three different files: a checksum copied to the wrong line would show here.
    assert len(set(known.members.values())) == 3
