"""A silo whose owner wants more noise: the job says so, costs nothing, and goes on when the owner agrees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.settings.training_config import TrainingConfig, parse_config
from tasks.local.home import Home
from tasks.privacy.account_file import now, read_account
from tasks.silos.egress_ledger import EgressLedger
from tests.faults.conftest import Federation
from tests.faults.gateway_silos import SilosBehindGateway, behind_gateway
from tests.faults.real_silos import run
from tests.faults.rosters import introduce

pytestmark = pytest.mark.timeout(1800)


def limit(silos: SilosBehindGateway, name: str, max_epsilon: float | None) -> None:
    path = silos.home(name).root / "silo.yaml"
    settings = yaml.safe_load(path.read_text())
    settings["policy"] = {"min_users": 1, "max_epsilon": max_epsilon}
    path.write_text(yaml.safe_dump(settings))


def private(silos: SilosBehindGateway, **federation: Any) -> TrainingConfig:
    raw = silos.config(rounds=2, **federation).model_dump(mode="json")
    raw["train"] = {"family": "dp_items"}
    secure = not federation
    raw["privacy"] = {"unit": "user", "epsilon": 4.0, "budget": 8.0, "secure_sum": secure}
    return parse_config(raw, "the test")


def left(home: Home) -> list[str]:
    return [str(each.body["what"]) for each in EgressLedger(home).read_verified().entries]


def test_a_limit_of_epsilon_stops_a_job_before_anything_is_spent(
    tmp_path: Path, federation: Federation
) -> None:
    with behind_gateway(tmp_path, federation) as silos:
        introduce(silos)
        for name in silos.names:
            limit(silos, name, 2.0 if name == "ash" else None)
        silos.start(*silos.names)
        config = private(silos)
        stopped = run(silos, config, lambda _: None)
        assert (stopped["status"], stopped["exit_code"]) == ("stopped", 3)
        assert stopped["stop_reason"] == (
            "Silo 'ash' takes part only in jobs that promise each user an epsilon of at most 2, with delta "
            "1e-05, and this one has noise for epsilon 4. So 2 of 3 silos are left, and the job needs 3. The "
            "account 'users' is charged nothing. Lower privacy.epsilon to 2 or less, with privacy.delta "
            "1e-05, or agree on a larger policy.max_epsilon with whoever owns 'ash'."
        )
        assert stopped["account_epsilon"] == 0.0
        assert read_account(federation.home, "users")[0].spent("ever", now()) == []
        assert [left(silos.home(name)) for name in silos.names] == [["check", "check"], ["check"], ["check"]]

        # Without secure sums the job can do without.
        others = run(silos, private(silos, quorum_share=0.6), lambda _: None)
        assert others["status"] == "finished"
        for each in others["rounds"]:
            (rejected,) = each["rejected"]
            assert (rejected["client_id"], rejected["stage"]) == ("ash", "policy")
        assert "train" not in left(silos.home("ash"))

        silos.kill("ash")
        limit(silos, "ash", 4.0)
        silos.start("ash")
        result = run(silos, config, lambda _: None)
        assert (result["job_id"], result["status"]) == (stopped["job_id"], "finished")
        account, _ = read_account(federation.home, "users")
        assert all(len(account.jobs[each["job_id"]].mechanisms) == 1 for each in (others, result))
