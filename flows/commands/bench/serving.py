"""`fedrec bench serving`: the speed of the serving process on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from flows.terminal.number_option import number_option
from flows.terminal.output import emit, json_option

_LABELS = {
    "small": "{items:,} x {dims}",
    "large_pass": "{items:,} x {dims}",
    "large": "{items:,} x {dims}, index",
    "weights": "blend of {items:,}",
    "mlflow": "mlflow models serve",
}


@click.command("serving")
@number_option("--seconds", click.FloatRange(min=1), 8.0, "Length of each load.")
@number_option("--items", click.IntRange(min=100), 10_000, "Items of the small model.")
@number_option("--large-items", click.IntRange(min=0), 1_000_000, "Items of the large model; 0 skips it.")
@number_option("--weights", click.IntRange(min=0), 1_682, "Items of the blend; 0 skips it.")
@click.option(
    "--mlflow/--no-mlflow", default=True, show_default=True, help="Also measure mlflow models serve."
)
@json_option
def command(seconds: float, items: int, large_items: int, weights: int, mlflow: bool, as_json: bool) -> None:
    """Measure the serving process with wrk: one worker, with one connection and with sixteen.

    The models are synthetic: LightFM with 64 dims, shaped like a trained one, and a blend with weights from
    items to items. Each request has a different history of ten items. The large model is measured with an
    index and without, and the small one also behind `mlflow models serve`.
    """
    from tasks.bench.serving.bench import bench
    from tasks.local import environment

    home = environment.apply()
    with tempfile.TemporaryDirectory(dir=home.root, prefix="bench-") as folder:
        result = bench(
            Path(folder),
            items,
            large_items,
            weights,
            seconds,
            mlflow,
            lambda text: click.echo(f"Measuring {text}", err=True),
        )
    emit(result, as_json=as_json, show=lambda: _show(result))


def _show(result: Mapping[str, Any]) -> None:
    click.echo(f"{'':26} {'ready s':>8} {'p50 ms':>8} {'p99 ms':>8} {'requests/s at 16':>17}")
    for name, label in _LABELS.items():
        if name in result:
            found = result[name]
            one, many = found["one_connection"], found["sixteen_connections"]
            model = label.format_map({**found, "dims": result["dims"]})
            click.echo(
                f"{model:26} {found['ready_s']:>8.2f} {one['p50_ms']:>8.3f} {one['p99_ms']:>8.3f} "
                f"{many['per_second']:>17,.0f}"
            )
    if "large" in result:
        click.echo(
            f"The index is {result['speedup_of_index_p50']} times as fast as a pass over all items (p50), "
            f"and finds {result['large']['recall_at_10']:.2%} of the ten best."
        )
    if "mlflow" in result:
        click.echo(f"{result['speedup_over_mlflow_serve_p50']} times as fast as mlflow models serve (p50).")
