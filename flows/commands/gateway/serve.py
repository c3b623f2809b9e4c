"""`fedrec gateway`: runs the gateway."""

from __future__ import annotations

import os
import re
import ssl
import sys
from pathlib import Path

import click

from flows.commands.gateway.orders_option import orders_option
from flows.terminal.number_option import number_option
from models.errors import InvalidInput

# Also names the files of the certificate.
_HOST = re.compile(r"[A-Za-z0-9:][A-Za-z0-9.:-]{0,199}")
_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command("gateway")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@number_option("--port", click.IntRange(1, 65535), 8443, "Port.")
@number_option("--workers", click.IntRange(min=1), 1, "Processes.")
@click.option("--certificate", type=_FILE, help="PEM file with the gateway's TLS certificate.")
@click.option("--private-key", type=_FILE, help="PEM file with the certificate's private key.")
@click.option(
    "--self-signed", metavar="HOST", help="Make a certificate for this name or address, and use it."
)
@click.option("--no-tls", is_flag=True, help="Speak HTTP, behind a proxy that ends TLS on this machine.")
@click.option("--exchange", metavar="URL", help="As runner.exchange.  [default: a folder of the home]")
@orders_option
@number_option("--max-object-bytes", click.IntRange(min=1), 100_000_000, "Larger uploads are refused.")
@click.option("--metrics-port", type=click.IntRange(1, 65535), help="Port of 127.0.0.1 for Prometheus.")
@click.option("--fingerprint", "only_fingerprint", is_flag=True, help="Print the fingerprint, and end.")
def command(
    host: str,
    port: int,
    workers: int,
    certificate: Path | None,
    private_key: Path | None,
    self_signed: str | None,
    no_tls: bool,
    exchange: str | None,
    orders: str | None,
    max_object_bytes: int,
    metrics_port: int | None,
    only_fingerprint: bool,
) -> None:
    """Let silos of other organisations connect to one HTTPS port, until stopped.

    A silo gets its own orders there and what they name, and sends its answers. It can do nothing else. Jobs
    with runner.kind: gateway give their orders to it. The fingerprint that is printed is that of the
    coordinator's key: tell it to the silos' owners over another channel.
    """
    from tasks.gateway.certificates import self_signed as make_certificate
    from tasks.gateway.certificates import valid_host
    from tasks.gateway.own_key import own_key
    from tasks.gateway.settings import GatewaySettings
    from tasks.local.home import current_home
    from tasks.silos.keys import fingerprint

    home = current_home()
    mark = fingerprint(own_key(home).public)
    if only_fingerprint:
        click.echo(mark)
        return
    ways = [bool(certificate), bool(self_signed), no_tls]
    if ways.count(True) != 1 or bool(certificate) != bool(private_key):
        raise click.UsageError(
            "Give one of: --certificate FILE --private-key FILE, --self-signed HOST, --no-tls."
        )
    if no_tls and host not in ("127.0.0.1", "::1", "localhost"):
        raise InvalidInput(
            f"--no-tls would send orders in clear to {host}.",
            next_step="Listen on 127.0.0.1 behind a proxy on this machine, or give a certificate.",
        )
    if self_signed and not _HOST.fullmatch(self_signed):
        raise InvalidInput(
            f"--self-signed {self_signed!r} is not the name or the address of a host.",
            next_step="Give it alone, such as coordinator.example or 192.0.2.7: without https:// and port.",
        )
    if self_signed:
        certificate, private_key = make_certificate(home, self_signed)
    if certificate and private_key:
        _require_pair(certificate, private_key)
    GatewaySettings(
        home=str(home.root),
        exchange=exchange or home.exchange.as_uri(),
        database=orders,
        max_object_bytes=max_object_bytes,
        metrics_port=metrics_port,
    ).to_environment(os.environ)
    shown = valid_host(certificate.read_bytes(), host) if certificate else host
    click.echo(f"The coordinator's fingerprint: {mark}", err=True)
    address = f"{'http' if no_tls else 'https'}://{f'[{shown}]' if ':' in shown else shown}:{port}"
    click.echo(f"The gateway listens at {address}; stop it with Ctrl-C.", err=True)
    if shown != host:
        click.echo(f"It listens on {host}, for which the certificate is not valid.", err=True)
    tls = ["--certificate", str(certificate), "--private-key", str(private_key)] if certificate else []
    serving = ["-m", "tasks.gateway", "--host", host, "--port", str(port), "--workers", str(workers), *tls]
    os.execv(sys.executable, [sys.executable, *serving])  # noqa: S606


def _require_pair(certificate: Path, private_key: Path) -> None:
    """Raise `InvalidInput` unless the files contain a certificate and its private key."""
    try:
        # An empty password: else the library asks for one on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, private_key, lambda: "")
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"{certificate} and {private_key} are not a certificate and its private key: {error}.",
            next_step="Give both as PEM files, the key without a password.",
        ) from error
