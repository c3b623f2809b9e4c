"""`fedrec bench`: measures models on a partition, federated beside centralised."""

from __future__ import annotations

import click

from flows.lazy_group import LazyGroup

# Name -> (module, one line of help).
COMMANDS: dict[str, tuple[str, str]] = {
    "ratings": ("flows.commands.bench_ratings", "Predicted ratings: RMSE, MAE and accuracies by name."),
}


@click.group("bench", cls=LazyGroup, lazy=COMMANDS)
def command() -> None:
    """Measure models on a partition: federated beside centralised and alone, with intervals."""
