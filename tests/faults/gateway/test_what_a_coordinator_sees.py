"""Everything that a coordinator and its gateway have after a job of secure sums: nothing of a single silo."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import chi2

from models.errors import CorruptArtifact
from models.federation.envelope import read_envelope
from tasks.exchange.codec import decode_masked
from tasks.messages.sum_orders import of_text
from tests.faults.conftest import Federation
from tests.faults.gateway_silos import SilosBehindGateway, behind_gateway
from tests.faults.real_silos import run
from tests.faults.rosters import deal, introduce, secure
from tests.models.secure_sum.test_uniform import FALSE_ALARM

pytestmark = pytest.mark.timeout(1800)

NAMES = ("ash", "birch", "cedar", "elm")
ROUNDS = 3
# Step -> what its signed answer says, besides the head of the silo's egress ledger.
TOLD = {
    "check": {"outcome", "users", "interactions", "digest"},
    "train": {"update", "seconds", "lightfm_s", "transfer_s"},
    **{
        step: {"messages", "seconds", "alone_s"}
        for step in ("announce", "prepare", "agree", "evaluate", "compare")
    },
}
# Ids that occur nowhere by chance.
MARK = "customer-"


@pytest.fixture
def silos(tmp_path: Path, federation: Federation) -> Iterator[SilosBehindGateway]:
    """Return four silos whose owners allow secure sums only."""
    deal(federation, tmp_path / "of-four", NAMES)
    with behind_gateway(tmp_path, federation, names=NAMES) as found:
        introduce(found)
        for name in NAMES:
            settings = found.home(name).root / "silo.yaml"
            policy = {"policy": {"plain": False, "min_cohort": 4}}
            settings.write_text(yaml.safe_dump(yaml.safe_load(settings.read_text()) | policy))
            sales = found.home(name).root / "data" / "sales.csv"
            table = pd.read_csv(sales)
            table.assign(user_id=MARK + table["user_id"]).to_csv(sales, index=False)
        yield found


class Sent:
    """What the silos have sent, collected after each round, because a silo removes its earlier updates.

    Args:
        root: of the coordinator's exchange.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.files: dict[Path, bytes] = {}

    def collect(self) -> None:
        for name in NAMES:
            for path in (self._root / "silos" / name).rglob("*"):
                if path.is_file():
                    self.files[path] = path.read_bytes()

    def updates(self) -> dict[tuple[str, str], bytes]:
        """Return (silo, round) -> the message of each masked update."""
        found = {}
        for path, data in self.files.items():
            if "updates" in path.parts:
                found[path.parts[-5], path.parts[-2]] = decode_masked(data)
        return found

    def answers(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Return silo, step and content of each signed answer."""
        found = []
        for path, data in self.files.items():
            if "updates" not in path.parts:
                envelope, _ = read_envelope(data, path.parts[-5])
                step = envelope.context.kind.partition("-")[0]
                found.append((envelope.context.silo, step, dict(envelope.body)))
        return found


def is_uniform(data: bytes) -> bool:
    """Return whether the halves of the bytes pass Pearson's chi-square test for a uniform distribution."""
    octets = np.frombuffer(data, np.uint8)
    counts = np.bincount(np.concatenate([octets & 15, octets >> 4]), minlength=16)
    expected = 2 * len(octets) / 16
    statistic = float(((counts - expected) ** 2).sum() / expected)
    return bool(chi2.ppf(FALSE_ALARM / 2, 15) < statistic < chi2.isf(FALSE_ALARM / 2, 15))


def attached(message: bytes) -> bytes:
    """Return the bytes that are attached to a signed statement."""
    return message.partition(b"\n")[2]


def test_a_coordinator_sees_nothing_of_a_single_silo(silos: SilosBehindGateway) -> None:
    silos.start(*NAMES)
    config = secure(silos.config(rounds=ROUNDS))
    sent = Sent(silos.federation.home.exchange)
    result = run(silos, config, lambda _: sent.collect())
    sent.collect()
    assert (result["status"], [each["rejected"] for each in result["rounds"]]) == ("finished", [[]] * ROUNDS)

    # Each object is a masked update or a signed answer, and answers have known parts only.
    answers = sent.answers()
    assert {step for _, step, _ in answers} == set(TOLD)
    for _, step, body in answers:
        assert set(body) == TOLD[step] | {"egress"}
        if step == "check":
            assert (body["users"], body["interactions"]) == (0, 0)
            outcome = json.loads(body["outcome"])
            assert (outcome["breaches"], outcome["result"]) == ([], {})

    # What could tell something of the data is as long as that of every other silo, and uniform.
    vectors = {(name, f"train {round_}"): attached(each) for (name, round_), each in sent.updates().items()}
    for name, step, body in answers:
        if step in ("evaluate", "compare"):
            (message,) = of_text(body["messages"]).values()
            vectors[name, step] = attached(message)
    sizes = defaultdict(set)
    for (_, what), vector in vectors.items():
        sizes[what].add(len(vector))
        assert is_uniform(vector), what
    assert len(vectors) == len(NAMES) * (ROUNDS + 2)
    assert all(len(each) == 1 for each in sizes.values()), sizes
    assert not is_uniform(bytes(1000))
    sealed = [
        attached(message)
        for _, step, body in answers
        if step == "prepare"
        for message in of_text(body["messages"]).values()
    ]
    assert len(sealed) == len(NAMES) * (ROUNDS + 2)
    assert is_uniform(b"".join(sealed))

    # Nor do journal, logs and databases of coordinator and gateway tell of one.
    assert result["clients"] == []
    home = silos.federation.home.root
    read = [path for path in home.rglob("*") if path.is_file() and not path.is_symlink()]
    assert {"gateway.db", "mlflow.db", "result.json"} <= {path.name for path in read}
    for path in read:
        assert MARK.encode() not in path.read_bytes(), path
    # The silos themselves have users of these ids.
    assert MARK.encode() in (silos.home("ash").root / "data" / "sales.csv").read_bytes()
    _require_no_update_in(home)


def _require_no_update_in(home: Path) -> None:
    """Assert that no object of the silos' folders can be read as a plain update."""
    from tasks.exchange.codec import decode_update

    for path in (home / "exchange" / "silos").rglob("*.safetensors"):
        with pytest.raises(CorruptArtifact):
            decode_update(path.read_bytes())
