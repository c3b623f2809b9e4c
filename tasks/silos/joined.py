"""The gateway that a silo has joined, kept in a file of the silo."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from models.errors import CorruptArtifact, NotFound
from tasks.local.atomic import write_atomically
from tasks.local.home import Home
from tasks.silos.gateway_client import Address


@dataclass(frozen=True)
class Joined:
    """The gateway of a silo.

    Attributes:
        url: its address.
        coordinator: fingerprint of the coordinator's key.
        ca: certificates in PEM form that the gateway's must follow from; None for those of the system.
    """

    url: str
    coordinator: str
    ca: str | None = None

    def keep(self, home: Home) -> None:
        """Write the file, which replaces an earlier one."""
        write_atomically(_path(home), json.dumps(asdict(self), indent=1).encode() + b"\n")

    def address(self, url: str | None = None) -> Address:
        """Return the gateway's address, or another address of the same gateway."""
        return Address(url or self.url, self.coordinator, self.ca)


def joined(home: Home) -> Joined:
    """Return the gateway that this silo has joined.

    Raises:
        NotFound: it has joined none.
        CorruptArtifact: the file was changed.
    """
    path = _path(home)
    try:
        return Joined(**json.loads(path.read_bytes()))
    except FileNotFoundError as error:
        raise NotFound(
            "This silo has joined no gateway.",
            next_step="Ask the coordinator for an invitation, and run fedrec silo join FILE. A silo that "
            "gets its orders from Prefect needs prefect_api_url and exchange in its settings.",
        ) from error
    except (ValueError, TypeError) as error:
        raise CorruptArtifact(
            f"{path} is not what fedrec silo join wrote.", next_step="Join again with a new invitation."
        ) from error


def _path(home: Home) -> Path:
    return home.root / "gateway.json"
