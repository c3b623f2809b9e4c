"""The silo's side of the exchange: nothing leaves against the policy or without a record in the ledger."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from models.errors import EgressRefused
from models.federation.contribution import Contribution
from models.federation.envelope import AnswerContext
from models.federation.model import ClientUpdate, GlobalModel, ItemArrays
from models.kernel.metric import Metric
from tasks.exchange.codec import encode, encode_model, encode_update
from tasks.exchange.store import Exchange
from tasks.local.home import Home
from tasks.silos.egress_ledger import EgressLedger
from tasks.silos.guarded_exchange import Border, GuardedExchange, describe
from tasks.silos.keys import SiloKey
from tasks.silos.signed_answers import sign_answer

KEY = SiloKey(Ed25519PrivateKey.from_private_bytes(bytes(32)), Path("none"))
ARRAYS = ["bias_accumulators", "biases", "embedding_accumulators", "embeddings"]
FOLDER = "silos/ash/job-1/000003"


@dataclass(frozen=True)
class Rules:
    may_leave: tuple[str, ...] = ("check", "update", "evaluation")
    max_update_bytes: int = 100_000


def items() -> ItemArrays:
    pairs = [np.zeros((3, 2), np.float32), np.zeros(3, np.float32)]
    return ItemArrays(pairs[0], pairs[1], pairs[1].copy(), pairs[1].copy())


UPDATE = encode_update(
    ClientUpdate("ash", 2, "b" * 64, "c" * 64, Contribution(items(), 1.0, 7, {"users": Metric(3, 1)}))
)
MODEL = encode_model(GlobalModel(3, "c" * 64, items()))


def said(kind: str, **body: object) -> bytes:
    return sign_answer(AnswerContext("ash", kind, "job-1", 3, "b" * 64), body, KEY)


@pytest.fixture
def border(tmp_path: Path) -> Border:
    return Border(EgressLedger(Home(tmp_path / "silo")), Rules(), silo="ash", job_id="job-1", round=3)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return (tmp_path / "x").as_uri()


def stored(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "x").rglob("*") if path.is_file()]


def recorded(border: Border) -> list[dict]:
    return [dict(entry.body) for entry in border.ledger.read_verified().entries]


def test_everything_that_leaves_is_in_the_ledger(border, url):
    exchange = GuardedExchange(url, replace(border, changes=("clipped",)))
    ref = exchange.put(FOLDER, UPDATE)
    assert Exchange(url).get(ref) == exchange.get(ref) == UPDATE
    (body,) = recorded(border)
    del body["at"]
    assert body == {
        "type": "sent",
        "what": "client_update",
        "job_id": "job-1",
        "round": 3,
        "bytes": len(UPDATE),
        "sha256": hashlib.sha256(UPDATE).hexdigest(),
        "fields": [
            *ARRAYS,
            *("base_digest", "base_round", "catalog_digest", "client_id"),
            *("interactions", "kind", "metrics.users", "weight"),
        ],
        "treatment": "clipped, readable",
        "to": FOLDER,
    }


def test_the_record_is_written_before_the_object(border, tmp_path):
    """In an exchange that cannot be written to, the record exists and the object does not."""
    (tmp_path / "x").write_text("a file where the folder should be")
    with pytest.raises(OSError):
        GuardedExchange((tmp_path / "x").as_uri(), border).put(FOLDER, UPDATE)
    assert [body["type"] for body in recorded(border)] == ["sent"]


def test_nothing_leaves_if_the_ledger_cannot_be_written(border, url, tmp_path):
    (tmp_path / "silo").mkdir()
    (tmp_path / "silo" / "egress.jsonl").mkdir()
    with pytest.raises(OSError):
        GuardedExchange(url, border).put(FOLDER, UPDATE)
    assert stored(tmp_path) == []


@pytest.mark.parametrize(
    ("kind", "word"),
    [("check", "check"), ("train", "update"), ("evaluate", "evaluation"), ("compare", "evaluation")],
)
def test_signed_answers_leave_if_the_policy_names_them(border, url, kind, word, tmp_path):
    data = said(kind, metrics={"ndcg@10": {"total": 2.0, "weight": 4}}, users=5)
    GuardedExchange(url, replace(border, policy=Rules(may_leave=(word,)))).put(FOLDER, data)
    (body,) = recorded(border)
    assert (body["what"], body["fields"]) == (
        kind,
        ["metrics.ndcg@10.total", "metrics.ndcg@10.weight", "users"],
    )

    others = tuple({"check", "update", "evaluation"} - {word})
    with pytest.raises(EgressRefused, match=f"lacks '{word}'") as caught:
        GuardedExchange(url, replace(border, policy=Rules(may_leave=others))).put(FOLDER, data)
    assert (caught.value.silo, caught.value.kind) == ("ash", kind)
    assert [body["type"] for body in recorded(border)] == ["sent", "refused"]


def test_an_update_does_not_leave_against_the_policy(border, url, tmp_path):
    with pytest.raises(EgressRefused, match="lacks 'update'"):
        GuardedExchange(url, replace(border, policy=Rules(may_leave=("check",)))).put(FOLDER, UPDATE)
    with pytest.raises(EgressRefused, match="empty"):
        GuardedExchange(url, replace(border, policy=Rules(may_leave=()))).put(FOLDER, UPDATE)
    assert stored(tmp_path) == []


def test_size_is_limited_to_the_byte(border, url, tmp_path):
    with pytest.raises(EgressRefused, match=f"allows {len(UPDATE) - 1} bytes"):
        GuardedExchange(url, replace(border, policy=Rules(max_update_bytes=len(UPDATE) - 1))).put(
            FOLDER, UPDATE
        )
    assert stored(tmp_path) == []
    (body,) = recorded(border)
    assert (body["type"], body["bytes"], body["reason"]) == (
        "refused",
        len(UPDATE),
        f"policy.max_update_bytes allows {len(UPDATE) - 1} bytes",
    )
    GuardedExchange(url, replace(border, policy=Rules(max_update_bytes=len(UPDATE)))).put(FOLDER, UPDATE)
    assert len(stored(tmp_path)) == 1


USERS = np.zeros((5, 2), np.float32)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"user_id,item_id\nu1,a\n",
        b'{"users": ["u1"]}',
        MODEL,
        encode({"embeddings": USERS}, {"kind": "user_state"}),
        # Users' embeddings in place of an update, or added to one.
        encode({"embeddings": USERS}, {"kind": "client_update"}),
        encode(
            {**dict(items().named()), "user_embeddings": USERS},
            {
                "kind": "client_update",
                "client_id": "ash",
                "base_round": 2,
                "base_digest": "",
                "catalog_digest": "",
                "weight": 1.0,
                "interactions": 1,
                "metrics": {},
            },
        ),
        said("users", users=["u1"]),
        UPDATE + b"u1,a",
        said("check") + b" ",
    ],
    ids=[
        "nothing",
        "a table",
        "JSON",
        "model",
        "users",
        "false kind",
        "stowaway",
        "other answer",
        "tail",
        "tail 2",
    ],
)
def test_nothing_else_leaves(border, url, tmp_path, data):
    with pytest.raises(EgressRefused, match="neither an update nor a signed answer"):
        GuardedExchange(url, border).put(FOLDER, data)
    assert stored(tmp_path) == []
    (body,) = recorded(border)
    assert (body["type"], body["sha256"]) == ("refused", hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize(
    "folder",
    [
        "job-1/updates",
        "silos",
        "silos/ash",
        "silos/birch/job-1",
        "silos/ash/../birch",
        "silos/ash/./x",
        "silos/ashes/x",
        "/silos/ash/x",
        "silos/ash//x",
        "coordinator/job-1",
    ],
)
def test_a_silo_writes_and_removes_below_its_own_prefix_only(border, url, tmp_path, folder):
    Exchange(url).put("silos/birch/job-1", b"birch's")
    before = stored(tmp_path)
    exchange = GuardedExchange(url, border)
    with pytest.raises(EgressRefused, match="only below silos/ash"):
        exchange.put(folder, UPDATE)
    with pytest.raises(EgressRefused, match="outside silos/ash"):
        exchange.remove(folder)
    assert stored(tmp_path) == before


def test_a_silo_removes_its_own_objects(border, url, tmp_path):
    exchange = GuardedExchange(url, border)
    exchange.put(FOLDER, UPDATE)
    exchange.remove("silos/ash/job-1")
    assert stored(tmp_path) == []


def test_names_are_read_from_the_bytes():
    assert describe(MODEL)[0] == "unknown"
    assert describe(MODEL)[1][:4] == ARRAYS
    assert describe(said("check", a={"b": {"c": 1}, "d": [{"e": 1}]})) == ("check", ["a.b.c", "a.d"])
    assert describe(b"user_id") == ("unknown", [])


def test_the_ledger_has_the_names_inside_a_compressed_update():
    many = ItemArrays(*(np.zeros(shape, np.float32) for shape in ((500, 4), *[(500,)] * 3)))
    update = ClientUpdate("ash", 2, "b" * 64, "c" * 64, Contribution(many))
    plain, small = (encode_update(update, compressed=compressed) for compressed in (False, True))
    assert len(small) < len(plain)
    assert describe(small) == describe(plain)
    assert describe(small)[0] == "client_update"
