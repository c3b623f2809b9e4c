"""`fedrec bench ratings`: the errors of predicted ratings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from flows.terminal.output import emit, json_option

_SHOWN = ("rmse", "mae", "accuracy_like_at_4", "accuracy_rounded_within_1")


@click.command("ratings")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Partition of interactions with ratings.  [default: FEDREC_HOME/data/ml-100k]",
)
@click.option("--quick", is_flag=True, help="One split, a shorter chain, no clients of one user.")
@click.option("--without-baselines", is_flag=True, help="Skip traditional methods, which need Surprise.")
@json_option
def command(data: Path | None, quick: bool, without_baselines: bool, as_json: bool) -> None:
    """Predict held-out ratings of three random 70/30 splits, over the partition's clients and single users.

    Compares Bayesian matrix factorisation, federated, pooled and in each silo alone, with traditional
    collaborative filtering on pooled data. All settings were chosen on validation ratings.
    """
    from tasks.bench.ratings.table_rows import bench_ratings
    from tasks.local import environment

    home = environment.apply()
    result = bench_ratings(
        data or home.data / "ml-100k",
        quick=quick,
        baselines=not without_baselines,
        announce=lambda line: click.echo(line, err=True),
    )
    emit(result, as_json=as_json, show=lambda: _show(result))


def _show(result: Mapping[str, Any]) -> None:
    values = {
        (row["clients"], row["family"], row["arm"], row["metric"]): (row["value"], row["high"] - row["value"])
        for row in result["rows"]
    }
    click.echo(f"{'family':12} {'arm':12} {'clients':12} " + " ".join(f"{name:>26}" for name in _SHOWN))
    for clients, family, arm in dict.fromkeys(key[:3] for key in values):
        figures = (values[clients, family, arm, name] for name in _SHOWN)
        cells = " ".join(f"{f'{value:.4f} ± {error:.4f}':>26}" for value, error in figures)
        click.echo(f"{family:12} {arm:12} {clients:12} {cells}")
    for clients, cost in result["costs"].items():
        click.echo(
            f"{cost['clients']} clients by {clients}: {cost['rounds']} rounds; each client sent "
            f"{cost['bytes_up_per_client'] / 1e6:.0f} MB and received "
            f"{cost['bytes_down_per_client'] / 1e6:.0f} MB"
        )
    click.echo(f"{result['inside_90']:.1%} of ratings are inside their 90 % intervals")
    claimed = result["claimed"]
    traditional, federated = claimed["traditional_cf"], claimed["federated"]
    click.echo(
        f"For comparison, {claimed['source']}: RMSE {traditional['rmse']:.2f} by traditional CF and "
        f"{federated['rmse']:.2f} federated; accuracy (not defined there) {traditional['accuracy']:.2f} and "
        f"{federated['accuracy']:.2f}."
    )
