"""Fetches MovieLens-100K from the first source that can be reached, checks it and writes one normal form."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError

from models.errors import InvalidInput, SourceUnavailable
from tasks.datasets.movielens.normal_form import (
    FORM,
    INTERACTIONS,
    ITEMS,
    USERS,
    from_grouplens,
    from_recbole,
    with_bars,
)
from tasks.local.checksums import sha256_of
from tasks.local.folders import build_folder, is_vacant

SOURCE_NOTE = "source.json"


@dataclass(frozen=True)
class Sources:
    """Where MovieLens-100K is published, and the checksums of what is published there.

    Attributes:
        url, url_md5: GroupLens' archive; GroupLens publishes only its MD5.
        timeout_s: seconds that the server may stay silent.
        requirement, wheel_sha256: RecBole's wheel, which contains the same data. It is unpacked, never
            installed.
        members: SHA-256 of each file that is read from the wheel.
        pip_options: further options for `pip download`.
        pip_timeout_s: seconds that pip may take in total.
    """

    url: str = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
    url_md5: str = "0e33842e24a9c977be4e0107933c0723"
    timeout_s: float = 15.0
    requirement: str = "recbole==1.2.1"
    wheel_sha256: str = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
    members: Mapping[str, str] = field(
        default_factory=lambda: {
            "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
            "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
            "ml-100k.user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
        }
    )
    pip_options: tuple[str, ...] = ()
    pip_timeout_s: float = 300.0


@dataclass(frozen=True)
class Fetched:
    """A fetched data set.

    Attributes:
        folder: the folder of its files.
        source: the URL, requirement or file that they were made from.
        files: SHA-256 of each file by name.
        downloaded: False if the folder already held intact files.
    """

    folder: Path
    source: str
    files: Mapping[str, str]
    downloaded: bool


class _Failed(Exception):
    """A source gave no usable data; the text says why."""


def fetch_ml_100k(
    out: Path,
    *,
    archive: Path | None = None,
    sources: Sources | None = None,
    announce: Callable[[str], None] = lambda message: None,
) -> Fetched:
    """Write interactions.csv, items.csv and users.csv (UTF-8) to `out`, with a note of source and SHA-256.

    Args:
        out: the folder to make; intact files in it are kept, damaged ones replaced.
        archive: GroupLens' ml-100k.zip or RecBole's wheel, downloaded by hand. With it nothing is downloaded.
        sources: where the data are published.
        announce: is called with a line of text for each step.

    Raises:
        InvalidInput: `out` holds other files, or the archive is neither of the two.
        SourceUnavailable: no source gave the data; the message says why for each.
    """
    sources = sources or Sources()
    intact = _intact(out)
    if intact:
        return intact
    if not is_vacant(out) and not (out / SOURCE_NOTE).is_file():
        raise InvalidInput(
            f"{out} already exists and was not made by 'fedrec data fetch', so it is left unchanged.",
            next_step="Give another folder with --out.",
            path=out,
        )
    source, contents = _open_archive(archive, sources) if archive else _first_available(sources, announce)
    return Fetched(out, source, _write(out, source, contents), downloaded=True)


def _intact(out: Path) -> Fetched | None:
    """Return the data set in `out`, or None unless all its files are intact; an older form is converted."""
    try:
        note = json.loads((out / SOURCE_NOTE).read_bytes())
        files = {name: sha256_of(out / name) for name in (INTERACTIONS, ITEMS, USERS)}
        if files != note["files"]:
            return None
        if note.get("form") != FORM:
            contents = {name: (out / name).read_bytes() for name in files}
            files = _write(out, note["source"], contents | {ITEMS: with_bars(contents[ITEMS])})
        return Fetched(out, note["source"], files, downloaded=False)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(out: Path, source: str, contents: Mapping[str, bytes]) -> dict[str, str]:
    """Write the files and the note of their source to `out`, and return their SHA-256 by name."""
    files = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    with build_folder(out) as folder:
        for name, data in contents.items():
            (folder / name).write_bytes(data)
        note = json.dumps({"data": "ml-100k", "form": FORM, "source": source, "files": files}, indent=1)
        (folder / SOURCE_NOTE).write_text(note + "\n", encoding="utf-8")
    return files


def _first_available(sources: Sources, announce: Callable[[str], None]) -> tuple[str, dict[str, bytes]]:
    attempts: list[tuple[str, Callable[[Sources], dict[str, bytes]]]] = [
        (sources.url, lambda known: _grouplens(_download(known), known)),
        (f"{sources.requirement} through pip", lambda known: _recbole(_pip_download(known), known)),
    ]
    failures = []
    for name, attempt in attempts:
        announce(f"Fetching MovieLens-100K from {name}")
        try:
            return name, attempt(sources)
        except _Failed as failure:
            failures.append((name, str(failure)))
            announce(f"  not available: {failure}")
    raise SourceUnavailable(
        "MovieLens-100K could not be fetched: " + "; ".join(f"{name}: {why}" for name, why in failures) + ".",
        next_step=f"Download {sources.url} by hand and pass it with --archive FILE.",
        failures=failures,
    )


def _open_archive(archive: Path, sources: Sources) -> tuple[str, dict[str, bytes]]:
    try:
        data = archive.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{archive} cannot be read: {error.strerror}.", file=archive) from error
    try:
        if _md5(data) == sources.url_md5:
            return str(archive), _grouplens(data, sources)
        return str(archive), _recbole(data, sources)
    except _Failed as failure:
        raise InvalidInput(
            f"{archive} is neither the archive {sources.url} (MD5 {sources.url_md5}, found {_md5(data)}) "
            f"nor the wheel {sources.requirement}: {failure}.",
            next_step="Download one of them again.",
            file=archive,
        ) from failure


def _download(sources: Sources) -> bytes:
    try:
        # The address is a constant of this module, or a test's.
        with urllib.request.urlopen(sources.url, timeout=sources.timeout_s) as response:  # noqa: S310
            data: bytes = response.read()
            return data
    except (OSError, HTTPException) as error:
        # The reason alone reads better. An HTTPError is shown whole, because its reason lacks the status.
        raise _Failed(str(error.reason if type(error) is URLError else error)) from error


def _pip_download(sources: Sources) -> bytes:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-input", "--only-binary", ":all:"]
    with tempfile.TemporaryDirectory(prefix="fedrec-fetch-") as folder:
        command += [*sources.pip_options, "--dest", folder, sources.requirement]
        try:
            done = subprocess.run(  # noqa: S603 - a fixed command without a shell
                command, capture_output=True, text=True, timeout=sources.pip_timeout_s, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _Failed(f"pip did not finish ({error})") from error
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode != 0 or not wheels:
            raise _Failed(_complaint(done.stderr) or f"pip ended with code {done.returncode}")
        return wheels[0].read_bytes()


def _complaint(stderr: str) -> str:
    """Return pip's last error line; the earlier ones only repeat the attempts."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return (errors or lines or [""])[-1].rstrip(".")


def _grouplens(data: bytes, sources: Sources) -> dict[str, bytes]:
    if _md5(data) != sources.url_md5:
        raise _Failed(f"MD5 {_md5(data)} of the {len(data)} bytes, expected {sources.url_md5}")
    members = _members(data, ("ml-100k/u.data", "ml-100k/u.item", "ml-100k/u.user"))
    return _normal(from_grouplens, members)


def _recbole(data: bytes, sources: Sources) -> dict[str, bytes]:
    found = hashlib.sha256(data).hexdigest()
    if found != sources.wheel_sha256:
        raise _Failed(f"SHA-256 {found} of the {len(data)} bytes, expected {sources.wheel_sha256}")
    members = _members(data, [f"recbole/dataset_example/ml-100k/{name}" for name in sources.members])
    for name, sha256 in sources.members.items():
        found = hashlib.sha256(members[name]).hexdigest()
        if found != sha256:
            raise _Failed(f"SHA-256 {found} of {name}, expected {sha256}")
    return _normal(from_recbole, members)


def _members(data: bytes, paths: Iterable[str]) -> dict[str, bytes]:
    """Return the archive's files at these paths, by file name."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {path.rsplit("/", 1)[1]: archive.read(path) for path in paths}
    except (zipfile.BadZipFile, KeyError) as error:
        raise _Failed(f"not the expected archive ({error})") from error


def _normal(
    normalise: Callable[[Mapping[str, bytes]], dict[str, bytes]], members: Mapping[str, bytes]
) -> dict[str, bytes]:
    try:
        return normalise(members)
    except (ValueError, KeyError) as error:
        raise _Failed(f"not in the expected form ({error})") from error


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
