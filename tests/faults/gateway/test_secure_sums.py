"""Secure sums over real silos behind a real gateway: the models are those of plain sums."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.conftest import Federation
from tests.faults.gateway_silos import behind_gateway
from tests.faults.real_silos import NAMES, run
from tests.faults.rosters import introduce


@pytest.mark.timeout(900)
def test_a_job_of_secure_sums_makes_the_models_of_plain_ones(tmp_path: Path, federation: Federation) -> None:
    with behind_gateway(tmp_path, federation) as silos:
        introduce(silos)
        silos.start(*NAMES)
        plain = silos.config(deadline_s=120)
        config = plain.model_copy(update={"privacy": plain.privacy.model_copy(update={"secure_sum": True})})
        result = run(silos, config, lambda _: None)
        federation.check(config, result, {})
