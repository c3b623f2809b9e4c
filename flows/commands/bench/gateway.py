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
@number_option("--uploaders", click.IntRange(min=1), 16, "Silos that upload at once.")
@number_option(
    "--rounds", click.IntRange(min=0), 5, "Rounds by Prefect workers and by the gateway; 0 for none."
)
@click.option(
    "--prefect-database", metavar="URL", help="As PREFECT_API_DATABASE_CONNECTION_URL.  [default: SQLite]"
)
@json_option
def command(
    silos: int, seconds: float, uploaders: int, rounds: int, prefect_database: str | None, as_json: bool
) -> None:
    """Measure one process of the gateway over TLS, and the rounds of a job of three silos.

    The many silos share one process on the same machine, so they take processor time from the gateway. The
    three silos of the job are processes of their own. They train the same model by Prefect workers and by the
    gateway. docs/gateway.md names the keys of --json.
    """
    from tasks.bench.gateway.bench import GatewayBench, bench_gateway

    request = GatewayBench(silos, seconds, min(uploaders, silos), rounds, prefect_database)
    with tempfile.TemporaryDirectory(prefix="fedrec-bench-") as folder:
        result = bench_gateway(Path(folder), request, lambda line: click.echo(line, err=True))
    emit(result, as_json=as_json, show=lambda: _show(result))


def _show(result: Mapping[str, Any]) -> None:
    for name, label in (("one_by_one", "orders one by one"), ("at_once", "an order for all at once")):
        row = result[name]
        click.echo(
            f"{label:26} {row['delivered']} of {row['orders']} delivered, p50 {row['p50_ms']:g} ms, "
            f"p99 {row['p99_ms']:g} ms"
        )
    uploads, size = result["uploads"], format(result["uploads"]["bytes"], ",")
    click.echo(
        f"{'uploads of ' + size + ' bytes':26} {uploads['per_second']:g} a second; processor time of each: "
        f"gateway {uploads['gateway_cpu_ms']:g} ms, silos {uploads['silos_cpu_ms']:g} ms, "
        f"at least {uploads['floor_cpu_ms']['all']:g} ms"
    )
    click.echo(f"{'memory of the gateway':26} {result['memory_mb']:g} MB")
    if "rounds" in result:
        rounds = result["rounds"]
        click.echo(
            f"{'a round of three silos':26} gateway {rounds['gateway']['mean_s']:g} s, "
            f"Prefect workers {rounds['prefect_workers']['mean_s']:g} s, ratio {rounds['ratio']:g}"
        )
