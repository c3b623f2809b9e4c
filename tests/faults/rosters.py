"""Federations of secure sums: users dealt to clients, silos that know each other, and their job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from flows.settings.training_config import TrainingConfig
from tasks.datasets.client_assignment import ByColumn
from tasks.datasets.partition import make_partition
from tasks.silos.keys import load_key
from tasks.silos.roster import add_member
from tests.conftest import small_tables

if TYPE_CHECKING:
    from tests.faults.conftest import Federation
    from tests.faults.gateway_silos import SilosBehindGateway
    from tests.faults.real_silos import Silos


def deal(federation: Federation, folder: Path, names: tuple[str, ...], users: int = 24) -> None:
    """Give the federation another partition: the users of a small world, dealt in turn to these clients."""
    paths = small_tables(folder / "tables", users=users)
    table = pd.read_csv(paths["users"])
    table["town"] = [names[number % len(names)] for number in range(len(table))]
    table.to_csv(paths["users"], index=False)
    federation.partition = folder / "partition"
    make_partition(
        paths["interactions"],
        federation.partition,
        ByColumn("town"),
        items=paths["items"],
        users=paths["users"],
    )


def introduce(silos: Silos | SilosBehindGateway) -> None:
    """Let each silo's owner add the others to the silo's roster."""
    keys = {name: load_key(silos.home(name)).public for name in silos.names}
    for name in silos.names:
        for other in silos.names:
            if other != name:
                add_member(silos.home(name), other, keys[other])


def secure(config: TrainingConfig) -> TrainingConfig:
    """Return the same job in secure sums."""
    privacy = config.privacy.model_copy(update={"secure_sum": True})
    return config.model_copy(update={"privacy": privacy})
