"""Orders carry references. What they point to is read once and verified."""

from __future__ import annotations

import pytest

from models.errors import CorruptArtifact
from models.federation.model import GlobalModel
from models.recommenders.lightfm.training import initial_items
from tasks.clients.client_data import base_of, data_of
from tasks.datasets.partition_reader import open_partition
from tasks.exchange.codec import encode, encode_model
from tasks.exchange.models import fetch_model
from tasks.exchange.store import Exchange
from tasks.messages.orders import ClientOrder, StartingPoint
from tests.worlds.jobs import job_of


def test_an_order_leads_to_the_client_s_data_model_and_folder(tmp_path, partition_dir):
    url = (tmp_path / "exchange").as_uri()
    partition = open_partition(partition_dir)
    model = GlobalModel(3, partition.catalog.digest, initial_items(40, 4, 1))
    ref = Exchange(url).put("job-1/models", encode_model(model))
    order = ClientOrder(job_of(partition_dir, tmp_path), "birch", 4, ref, StartingPoint(None, 0))
    assert order.silo == tmp_path / "silos" / "birch"
    assert len(data_of(order).user_ids) == 8
    assert data_of(order) is data_of(order)
    assert (base_of(order).round, base_of(order).catalog_digest) == (3, partition.catalog.digest)
    assert base_of(order) is base_of(order)


def test_an_object_that_is_not_a_model_is_refused(tmp_path):
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
