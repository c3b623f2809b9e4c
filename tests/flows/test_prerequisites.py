"""A job that needs more memory than there is, or more clients, says so before it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from flows.jobs.job import finished_before, open_data
from flows.jobs.prerequisites import memory_line, require_clients, require_memory
from flows.settings.training_config import TrainingConfig, parse_config
from models.errors import InvalidConfig
from models.recommenders.additive.ease import EaseFamily, EaseSpec
from tasks.coordinator.trust_store import TrustStore
from tasks.datasets.client_assignment import ByUser
from tasks.datasets.partition import make_partition
from tasks.datasets.partition_reader import Partition, open_partition
from tasks.local.home import Home

# Their pairs take more than a terabyte.
ITEMS = 300_000
PAIRS = ["ease", "next_item", "blend"]


@pytest.fixture(scope="module")
def many_items(tmp_path_factory: pytest.TempPathFactory) -> Partition:
    folder = tmp_path_factory.mktemp("many")
    pd.DataFrame({"item_id": [f"i{row}" for row in range(ITEMS)]}).to_csv(folder / "items.csv", index=False)
    used = {"user_id": ["u", "u", "u", "v", "v", "v"], "item_id": ["i1", "i2", "i3", "i1", "i4", "i5"]}
    pd.DataFrame(used).to_csv(folder / "used.csv", index=False)
    return make_partition(folder / "used.csv", folder / "out", ByUser(), items=folder / "items.csv")


def config_of(partition: Partition, family: str, **more: Any) -> TrainingConfig:
    named = {"name": "job", "model_name": "job", "data": {"dir": str(partition.root)}}
    return parse_config({**named, "train": {"family": family}, **more}, "file")


@pytest.mark.parametrize("family", PAIRS)
def test_a_family_with_pairs_of_items_is_refused_above_the_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, many_items: Partition, family: str
) -> None:
    monkeypatch.setenv("FEDREC_HOME", str(tmp_path))
    with pytest.raises(
        InvalidConfig, match=f"train.family {family} needs about .* of 300,000 items"
    ) as refused:
        finished_before(config_of(many_items, family))
    needed, available = (refused.value.facts[name] for name in ("needed_bytes", "available_bytes"))
    assert needed > available > 0
    assert "ials" in refused.value.next_step
    assert "lightfm" in refused.value.next_step
    assert not any(name in refused.value.next_step.split("(")[1].split(")")[0] for name in PAIRS)
    # So many items would fit.
    most = int(refused.value.next_step.split("--max-items ")[1].rstrip("."))
    assert 0 < needed / ITEMS**2 * most**2 <= available


def test_a_family_without_pairs_needs_no_such_memory(many_items: Partition) -> None:
    config = config_of(many_items, "ials")
    require_memory(config, many_items)
    assert memory_line(config, many_items) == ""


def test_a_job_with_pairs_says_what_they_take(partition_dir: Path) -> None:
    partition = open_partition(partition_dir)
    config = config_of(partition, "ease", runner={"threads": 1})
    require_memory(config, partition)
    assert memory_line(config, partition).startswith("ease takes about 0.0 GB of memory for the pairs of ")


def test_only_clients_of_this_process_take_its_memory(many_items: Partition) -> None:
    needed = []
    for runner in ({"threads": 2}, {"kind": "dask"}):
        with pytest.raises(InvalidConfig) as refused:
            require_memory(config_of(many_items, "ease", runner=runner), many_items)
        needed.append(refused.value.facts["needed_bytes"] // ITEMS**2)
    family = EaseFamily(EaseSpec())
    assert needed == [family.pair_bytes(2), family.pair_bytes(0)]
    assert family.pair_bytes(0) <= family.pair_bytes(2) < family.pair_bytes(20)


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_secure_sum_of_two_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, many_items: Partition, partition_dir: Path, share: float
) -> None:
    """Either there are two clients, or a round selects two of three."""
    monkeypatch.setenv("FEDREC_HOME", str(tmp_path))
    partition = many_items if share == 1.0 else open_partition(partition_dir)
    more = {"privacy": {"secure_sum": True}, "federation": {"cohort_share": share}}
    with pytest.raises(InvalidConfig, match=r"at least 3 clients.* a round selects 2") as refused:
        finished_before(config_of(partition, "ials", **more))
    assert refused.value.facts["key"] == ("data.dir" if share == 1.0 else "federation.cohort_share")


def silos_of(tmp_path: Path, kind: str, *silos: str, secure: bool = False) -> TrainingConfig:
    """Return the configuration of a job of these silos, whose home is `tmp_path`."""
    items = tmp_path / "items.csv"
    items.write_text("item_id\na\nb\n")
    raw = {"name": "job", "model_name": "job", "data": {"items": str(items)}}
    runner = {"kind": kind, "silos": list(silos)}
    return parse_config(raw | {"runner": runner, "privacy": {"secure_sum": secure}}, "file")


@pytest.mark.parametrize(
    ("kind", "command"),
    [("gateway", "fedrec invite elm"), ("silos", "fedrec silo enrol --name elm")],
)
def test_a_silo_that_never_enrolled_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, command: str
) -> None:
    monkeypatch.setenv("FEDREC_HOME", str(tmp_path))
    trust, config = TrustStore(Home(tmp_path)), silos_of(tmp_path, kind, "ash", "elm")
    trust.trust("ash", Ed25519PrivateKey.generate().public_key())
    with pytest.raises(InvalidConfig, match="names 'elm', of which no key was ever trusted") as refused:
        open_data(Home(tmp_path), config)
    assert command in refused.value.next_step
    trust.trust("elm", Ed25519PrivateKey.generate().public_key())
    open_data(Home(tmp_path), config)
    # The others of a job go on without a silo that leaves.
    trust.remove("elm")
    open_data(Home(tmp_path), config)


def test_two_silos_make_no_secure_sum(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FEDREC_HOME", str(tmp_path))
    for name in ("ash", "birch"):
        TrustStore(Home(tmp_path)).trust(name, Ed25519PrivateKey.generate().public_key())
    with pytest.raises(InvalidConfig, match="has 2 clients") as refused:
        open_data(Home(tmp_path), silos_of(tmp_path, "gateway", "ash", "birch", secure=True))
    assert refused.value.facts["key"] == "runner.silos"


# The partition has three clients.
@pytest.mark.parametrize(
    ("robust", "reason"),
    [
        ({"method": "krum", "share": 0.34}, "krum needs at least 5 vectors, and there are 3"),
        ({"method": "trimmed_mean"}, "a share of 0.1 withstands no liar among 3 vectors"),
        ({"method": "median", "group": 2}, "median needs at least 3 vectors, and there are 1"),
    ],
    ids=str,
)
def test_a_robust_merge_of_too_few_clients_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, partition_dir: Path, robust: dict[str, Any], reason: str
) -> None:
    monkeypatch.setenv("FEDREC_HOME", str(tmp_path))
    config = config_of(open_partition(partition_dir), "lightfm", federation={"robust": robust})
    with pytest.raises(InvalidConfig, match=f"does not fit rounds of 3 clients, .*{reason}") as refused:
        finished_before(config)
    assert refused.value.next_step


def test_the_share_of_the_cohort_counts_for_a_robust_merge(partition_dir: Path) -> None:
    partition = open_partition(partition_dir)
    for share, few in ((1.0, False), (0.5, True)):
        config = config_of(
            partition, "lightfm", federation={"cohort_share": share, "robust": {"method": "median"}}
        )
        if few:
            with pytest.raises(InvalidConfig, match="rounds of 2 clients"):
                require_clients(config, partition)
        else:
            require_clients(config, partition)
