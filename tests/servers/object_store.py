"""A real S3-speaking server process for tests (moto's), on a free port of 127.0.0.1.

A pytest plugin: `object_store` is one server for the session, `bucket_url` an empty bucket for one test, with
the environment set so that any process finds the server by itself. Outside pytest `running_object_store()` is
a context manager with the same server.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.servers.free_port import free_port

_PATIENCE_S = 60


@dataclass(frozen=True)
class ObjectStore:
    """A server that speaks S3.

    Attributes:
        endpoint: its URL.
        started_s: seconds that it took to start.
    """

    endpoint: str
    started_s: float

    @property
    def environment(self) -> dict[str, str]:
        """Return what a process needs to reach the server through s3:// URLs."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            # Neither the tester's own profile nor a cloud machine's identity may be used.
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/nonexistent",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        }

    def client(self) -> Any:
        """Return a boto3 client, to inspect the store from outside."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",  # noqa: S106
        )

    def create_bucket(self) -> str:
        """Create an empty bucket. Return its name."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return name


@contextlib.contextmanager
def running_object_store() -> Iterator[ObjectStore]:
    """Run a server for the length of the block."""
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    before = time.perf_counter()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        try:
            while not _answers(endpoint):
                if process.poll() is not None or time.perf_counter() - before > _PATIENCE_S:
                    log.seek(0)
                    raise RuntimeError(f"The S3 server did not start: {log.read()}")
                time.sleep(0.05)
            yield ObjectStore(endpoint, time.perf_counter() - before)
        finally:
            process.terminate()
            process.wait(10)


def _answers(endpoint: str) -> bool:
    try:
        with urllib.request.urlopen(f"{endpoint}/moto-api/", timeout=5):  # noqa: S310 - our own address
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


@pytest.fixture(scope="session")
def object_store() -> Iterator[ObjectStore]:
    """Run one S3 server for the session."""
    pytest.importorskip("moto.server", reason="moto[s3] and flask speak S3 in the tests")
    with running_object_store() as server:
        yield server


@pytest.fixture
def bucket_url(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the `s3://` URL of an empty bucket. The environment leads to its server."""
    import s3fs

    for name, value in object_store.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    # fsspec caches file systems by their arguments. One made under another environment must not be found.
    s3fs.S3FileSystem.clear_instance_cache()
    yield f"s3://{object_store.create_bucket()}"
    s3fs.S3FileSystem.clear_instance_cache()
