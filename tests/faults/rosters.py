"""Silos whose owners gave each other their public keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.silos.keys import load_key
from tasks.silos.roster import add_member
from tests.faults.real_silos import NAMES

if TYPE_CHECKING:
    from tests.faults.gateway_silos import SilosBehindGateway
    from tests.faults.real_silos import Silos


def introduce(silos: Silos | SilosBehindGateway) -> None:
    """Let each silo's owner add the others to the silo's roster."""
    keys = {name: load_key(silos.home(name)).public for name in NAMES}
    for name in NAMES:
        for other in NAMES:
            if other != name:
                add_member(silos.home(name), other, keys[other])
