"""The users of a silo, who are published beside each version that the silo serves."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import CorruptArtifact
from tasks.bundles.pointer import users_folder
from tasks.bundles.users_bundle import open_users


@dataclass(frozen=True)
class Origin:
    """The training that made a version.

    Attributes:
        job_id, round: the job and its round.
        catalog_digest: digest of the job's catalogue, whose rows the version's items have.
    """

    job_id: str
    round: int
    catalog_digest: str

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Origin:
        """Return the origin in the facts of a bundle."""
        return cls(facts["job_id"], facts["round"], facts["catalog_digest"])


@dataclass(frozen=True)
class SiloUsers:
    """The users of a silo.

    Attributes:
        silo: the silo's name.
        lay_out: writes them for a version, given a folder and the version's origin, and returns the SHA-256
            of their manifest (see `tasks.publishing.local_users`).
    """

    silo: str
    lay_out: Callable[[Path, Origin], str]

    def publish_beside(self, folder: Path, bundle: str, facts: Mapping[str, Any]) -> str:
        """Write the users beside a bundle unless the same are there, and return their digest.

        Args:
            folder: the model's folder.
            bundle: name of the bundle's folder in it.
            facts: of the bundle.
        """
        parent = folder / "users"
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(prefix=".new.", dir=parent) as staging:
            digest = self.lay_out(Path(staging) / "users", Origin.of_facts(facts))
            target = users_folder(folder, bundle, digest)
            try:
                open_users(target, digest, (facts["items"], facts["dims"]))
            except CorruptArtifact:
                shutil.rmtree(target, ignore_errors=True)
                (Path(staging) / "users").rename(target)
        return digest
