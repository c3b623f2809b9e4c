"""`fedrec bench`: fedrec measured."""

from __future__ import annotations

import click

from flows.lazy_group import LazyGroup

# Name -> (module, one line of help).
COMMANDS: dict[str, tuple[str, str]] = {
    "quality": (
        "flows.commands.bench_quality",
        "Measure every family federated, pooled and alone, beside baselines.",
    ),
    "serving": ("flows.commands.bench_serving", "Measure the serving process with wrk."),
    "cold-start": (
        "flows.commands.bench_cold_start",
        "Measure new items, new users and new silos beside naive answers.",
    ),
    "leak": ("flows.commands.bench_leak", "Show how much a leak of the literature is worth."),
    "ratings": ("flows.commands.bench_ratings", "Predicted ratings: RMSE, MAE and accuracies by name."),
}


@click.group("bench", cls=LazyGroup, lazy=COMMANDS)
def command() -> None:
    """Measure fedrec on this machine."""
