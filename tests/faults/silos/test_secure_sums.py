"""Secure sums over silos with Prefect workers: the models are those of plain sums."""

from __future__ import annotations

import pytest

from tests.faults.real_silos import NAMES, Silos, run
from tests.faults.rosters import introduce, secure


@pytest.mark.minutes
@pytest.mark.timeout(1800)
def test_a_job_of_secure_sums_makes_the_models_of_plain_ones(silos: Silos) -> None:
    introduce(silos)
    silos.start(*NAMES)
    config = secure(silos.config())
    result = run(silos, config, lambda _: None)
    silos.federation.check(config, result, {})
    assert result["clients"] == []
