"""The exchange on a server process that speaks S3: what is stored there and what is refused."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import uuid

import pytest

from models.errors import CorruptArtifact
from tasks.exchange.store import ArtifactRef, Exchange
from tests.worlds.damaged_objects import DAMAGES, assert_refused_and_mended


@pytest.fixture
def exchange(bucket_url: str) -> Exchange:
    return Exchange(f"{bucket_url}/fedrec")


@pytest.fixture
def s3(object_store, bucket_url):
    """Return a client and the bucket, to inspect the store from outside."""
    return object_store.client(), bucket_url.removeprefix("s3://")


def keys(s3) -> list[str]:
    client, bucket = s3
    return [each["Key"] for each in client.list_objects_v2(Bucket=bucket).get("Contents", [])]


def test_an_object_lies_below_the_prefix_under_its_digest_and_comes_back(exchange, s3):
    ref = exchange.put("job/models", b"model")
    digest = hashlib.sha256(b"model").hexdigest()
    assert ref == ArtifactRef(path=f"job/models/{digest}.safetensors", sha256=digest, size=5)
    # One object: no temporary name, no folder marker.
    assert keys(s3) == [f"fedrec/{ref.path}"]
    assert exchange.get(ref) == b"model"
    assert Exchange(exchange.url).get(ref) == b"model"
    assert exchange.get(exchange.put("job/models", b"")) == b""


def test_another_process_finds_the_server_by_the_environment_alone(exchange):
    ref = exchange.put("job/models", b"model")
    program = (
        "import sys; from tasks.exchange.store import ArtifactRef, Exchange; "
        "url, path, digest = sys.argv[1:]; exchange = Exchange(url); "
        "data = exchange.get(ArtifactRef(path, digest, 5)); "
        "print(exchange.put('job/updates', data + b'!').path)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, exchange.url, ref.path, ref.sha256],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    )
    digest = hashlib.sha256(b"model!").hexdigest()
    assert done.stdout.strip() == f"job/updates/{digest}.safetensors"
    assert exchange.get(ArtifactRef(done.stdout.strip(), digest, 6)) == b"model!"


def test_objects_of_another_party_are_found_after_a_listing(exchange, s3):
    client, bucket = s3
    exchange.put("job/updates", b"one")
    exchange._files.ls(f"{bucket}/fedrec/job/updates")
    digest = hashlib.sha256(b"two").hexdigest()
    ref = ArtifactRef(f"job/updates/{digest}.safetensors", digest, 3)
    client.put_object(Bucket=bucket, Key=f"fedrec/{ref.path}", Body=b"two")
    assert exchange.get(ref) == b"two"


def test_a_missing_object_is_refused_until_it_is_stored_again(exchange, object_store):
    ref = exchange.put("job/models", b"model")
    object_store.client().delete_object(Bucket=exchange.url.split("/")[2], Key=f"fedrec/{ref.path}")
    with pytest.raises(CorruptArtifact, match="is missing from the exchange") as caught:
        exchange.get(ref)
    assert caught.value.path == ref.path
    exchange.put("job/models", b"model")
    assert exchange.get(ref) == b"model"


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_object_is_refused_and_storing_it_again_mends_it(exchange, s3, damage):
    client, bucket = s3

    def overwrite(ref: ArtifactRef, data: bytes) -> None:
        client.put_object(Bucket=bucket, Key=f"fedrec/{ref.path}", Body=data)

    ref = assert_refused_and_mended(exchange, damage, overwrite)
    assert keys(s3) == [f"fedrec/{ref.path}"]


def test_an_object_is_complete_as_soon_as_it_exists(exchange):
    """A reader that polls all the time finds nothing or the whole object."""
    data = os.urandom(1 << 20) * 12
    digest = hashlib.sha256(data).hexdigest()
    ref = ArtifactRef(f"job/models/{digest}.safetensors", digest, len(data))
    seen: list[str] = []
    written = threading.Event()

    def read() -> None:
        while not written.is_set():
            try:
                exchange.get(ref)
                seen.append("whole")
            except CorruptArtifact as error:
                seen.append("missing" if "is missing" in str(error) else str(error))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        exchange.put("job/models", data)
    finally:
        written.set()
        reader.join()
    assert "missing" in seen
    assert set(seen) <= {"missing", "whole"}
    assert exchange.get(ref) == data


def test_removing_a_folder_leaves_the_others(exchange, s3):
    kept = exchange.put("job/models", b"model")
    for client in ("ash", "birch"):
        exchange.put(f"job/updates/1/{client}", client.encode())
    neighbour = exchange.put("job/updates-of-others", b"x")
    exchange.remove("job/updates")
    exchange.remove("job/updates")
    assert sorted(keys(s3)) == sorted(f"fedrec/{ref.path}" for ref in (kept, neighbour))


def test_a_missing_bucket_is_not_created(bucket_url, object_store):
    name = f"absent-{uuid.uuid4().hex[:12]}"
    with pytest.raises(FileNotFoundError):
        Exchange(f"s3://{name}/fedrec").put("job/models", b"model")
    buckets = [each["Name"] for each in object_store.client().list_buckets()["Buckets"]]
    assert name not in buckets
