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


def hosts_of(pem: bytes) -> list[str]:
    """Return the names and addresses that the first certificate in a PEM file is valid for.

    Raises:
        ValueError: it is no certificate.
    """
    try:
        names = (
            x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(
                x509.SubjectAlternativeName
            )
        ).value
    except x509.ExtensionNotFound:
        return []
    found = names.get_values_for_type(x509.DNSName)
    return found + [str(each) for each in names.get_values_for_type(x509.IPAddress)]


def is_valid_for(hosts: list[str], host: str) -> bool:
    """Return whether a certificate for these hosts is one for `host`; `*.example` is for each name below."""
    name = host.lower()
    return any(
        each.lower() == name or (each.startswith("*.") and name.partition(".")[2] == each[2:].lower())
        for each in hosts
    )


def valid_host(pem: bytes, host: str) -> str:
    """Return `host` if the certificate is valid for it, else the first host that it is valid for."""
    hosts = hosts_of(pem)
    names = [each for each in hosts if not each.startswith("*")]
    return host if is_valid_for(hosts, host) or not names else names[0]


def own_certificates(home: Home) -> list[Path]:
    """Return the files of the certificates that this coordinator's gateway signed itself, sorted."""
    return sorted((home.root / "gateway" / "tls").glob("*.crt"))


def _named(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
