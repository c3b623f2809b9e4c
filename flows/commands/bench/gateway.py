"""`fedrec bench gateway`: the speed of the gateway on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from flows.terminal.number_option import number_option
from flows.terminal.output import emit, json_option


@click.command("gateway")
@number_option("--silos", click.IntRange(min=1), 500, "Silos that wait at once.")
@number_option("--seconds", click.FloatRange(min=1), 10.0, "Length of each load.")
@number_option("--uploaders", click.IntRange(min=1), 8, "Silos that upload at once.")
@json_option
def command(silos: int, seconds: float, uploaders: int, as_json: bool) -> None:
    """Measure one process of the gateway over TLS: orders to many waiting silos, and uploads.

    The silos share one process on the same machine, so they take processor time from the gateway.
    """
    from tasks.bench.gateway.bench import bench_gateway

    with tempfile.TemporaryDirectory(prefix="fedrec-bench-") as folder:
        result = bench_gateway(
            Path(folder), silos, seconds, min(uploaders, silos), lambda line: click.echo(line, err=True)
        )
    emit(result, as_json=as_json, show=lambda: _show(result))


def _show(result: Mapping[str, Any]) -> None:
    for name, label in (("one_by_one", "orders one by one"), ("at_once", "an order for all at once")):
        row = result[name]
        click.echo(
            f"{label:26} {row['delivered']} of {row['orders']} delivered, p50 {row['p50_ms']:g} ms, "
            f"p99 {row['p99_ms']:g} ms"
        )
    uploads = result["uploads"]
    click.echo(
        f"{'uploads of ' + format(uploads['bytes'], ',') + ' bytes':26} {uploads['per_second']:g} a second"
    )
    click.echo(f"{'memory of the gateway':26} {result['memory_mb']:g} MB")
