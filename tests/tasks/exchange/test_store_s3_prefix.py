"""On S3 a silo's account may write below the silo's own prefix alone. The server enforces it."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator

import boto3
import pytest
import s3fs

from tasks.exchange.store import Exchange
from tests.servers.object_store import ObjectStore, running_object_store


def policy(bucket: str, *, read: list[str], write: list[str]) -> str:
    """Return the policy that the documentation gives an operator: objects by prefix, and no listing."""
    arn = f"arn:aws:s3:::{bucket}"
    statements = [
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": [f"{arn}/{each}/*" for each in read]},
        {"Effect": "Allow", "Action": "s3:PutObject", "Resource": [f"{arn}/{each}/*" for each in write]},
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


@pytest.fixture(scope="module")
def guarded() -> Iterator[tuple[ObjectStore, str, dict[str, str]]]:
    """Run a server that enforces permissions. Return it, its bucket, and the keys of the silo "ash"."""
    # A server of its own, because permissions are enforced for all that it serves.
    with running_object_store() as store:
        bucket = store.create_bucket()
        store.client().put_object(Bucket=bucket, Key="silos/birch/other", Body=b"not yours")
        iam = boto3.client(
            "iam",
            endpoint_url=store.endpoint,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",  # noqa: S106
        )
        iam.create_user(UserName="ash")
        document = policy(bucket, read=["coordinator", "silos/ash"], write=["silos/ash"])
        iam.put_user_policy(UserName="ash", PolicyName="own-prefix", PolicyDocument=document)
        key = iam.create_access_key(UserName="ash")["AccessKey"]
        request = urllib.request.Request(  # noqa: S310 - our own address
            f"{store.endpoint}/moto-api/reset-auth", data=b"0", headers={"Content-Type": "text/plain"}
        )
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310
        keys = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        yield store, bucket, {**store.environment, **keys}


@pytest.fixture
def exchange(guarded, monkeypatch) -> Iterator[Exchange]:
    _, bucket, environment = guarded
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    yield Exchange(f"s3://{bucket}")
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_silo_stores_below_its_own_prefix(exchange):
    ref = exchange.put("silos/ash/job/1", b"update")
    assert exchange.get(ref) == b"update"
    assert exchange.put("silos/ash/job/1", b"update") == ref


@pytest.mark.parametrize("folder", ["silos/birch/job/1", "coordinator/job", "job"])
def test_a_silo_stores_nowhere_else(exchange, folder):
    with pytest.raises(PermissionError):
        exchange.put(folder, b"update")


def test_a_silo_reads_nothing_of_another(exchange):
    ref = exchange.put("silos/ash/job/1", b"update")
    with pytest.raises(PermissionError):
        exchange.get(type(ref)("silos/birch/other", ref.sha256, 9))
