"""Orders carry references; what they point to is read once and verified."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import CorruptArtifact
from models.federation.model import GlobalModel
from models.recommenders.lightfm.spec import LightFMSpec
from models.recommenders.lightfm.training import initial_items
from tasks.clients.client_data import base_of, data_of
from tasks.datasets.partition_reader import open_partition
from tasks.exchange.codec import encode, encode_model
from tasks.exchange.models import fetch_model
from tasks.exchange.store import Exchange
from tasks.messages.orders import ClientOrder, JobContext, StartingPoint


def test_an_order_leads_to_the_client_s_data_model_and_folder(tmp_path, partition_dir):
    url = (tmp_path / "exchange").as_uri()
    partition = open_partition(partition_dir)
    model = GlobalModel(3, partition.catalog.digest, initial_items(40, 4, 1))
    ref = Exchange(url).put("job-1/models", encode_model(model))
    job = JobContext(
        "job-1", 7, LightFMSpec(), url, str(partition_dir), partition.digest, str(tmp_path / "s"), 5, 20
    )
    order = ClientOrder(job, "birch", 4, ref, StartingPoint(None, 0))
    assert order.silo == Path(tmp_path / "s" / "birch")
    assert len(data_of(order).user_ids) == 8
    assert data_of(order) is data_of(order)
    assert (
        base_of(order).round,
        base_of(order).catalog_digest,
    ) == (3, partition.catalog.digest)
    assert base_of(order) is base_of(order)


def test_a_model_that_is_none_is_refused(tmp_path):
    url = (tmp_path / "exchange").as_uri()
    ref = Exchange(url).put("models", encode({}, {"kind": "client_update"}))
    with pytest.raises(CorruptArtifact, match=f"The model {ref.path} holds a 'client_update'"):
        fetch_model(url, ref)


def test_a_damaged_model_is_refused_and_not_remembered(tmp_path):
    url = (tmp_path / "exchange").as_uri()
    model = GlobalModel(3, "cat", initial_items(5, 2, 1))
    ref = Exchange(url).put("models", encode_model(model))
    path = tmp_path / "exchange" / ref.path
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"\1")
    with pytest.raises(CorruptArtifact, match="has SHA-256"):
        fetch_model(url, ref)
    path.write_bytes(whole)
    assert fetch_model(url, ref).round == 3
