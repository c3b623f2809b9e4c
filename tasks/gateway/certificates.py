"""A certificate that a gateway signs itself, for silos that get it with their invitation."""

from __future__ import annotations

import ipaddress
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tasks.local.atomic import write_atomically
from tasks.local.home import Home

_DAYS = 365


def self_signed(home: Home, host: str) -> tuple[Path, Path]:
    """Return the files of a certificate for this host and of its private key, which are made if missing.

    Args:
        home: of the coordinator.
        host: the name or the address by which silos reach the gateway.
    """
    folder = home.root / "gateway" / "tls"
    certificate, private = folder / f"{host}.crt", folder / f"{host}.key"
    if not (certificate.exists() and private.exists()):
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=_DAYS))
            .add_extension(x509.SubjectAlternativeName([_named(host)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, SHA256())
        )
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        private.touch(mode=0o600)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        with private.open("wb") as file:
            file.write(pem)
            os.fsync(file.fileno())
        write_atomically(certificate, made.public_bytes(Encoding.PEM))
    return certificate, private


def _named(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
