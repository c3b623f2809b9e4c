"""The coordinator's store of the silos' public keys: one PEM file a silo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from models.errors import InvalidInput, NotFound
from tasks.local.atomic import create_exclusively, write_atomically
from tasks.local.home import Home
from tasks.silos.keys import key_id, public_pem, read_public


@dataclass(frozen=True)
class TrustStore:
    """The public keys below `FEDREC_HOME/trusted_silos`.

    Attributes:
        home: of the coordinator.
    """

    home: Home

    def trust(self, name: str, public: Ed25519PublicKey, *, force: bool = False) -> str | None:
        """Answers signed with this key are the silo's from now on.

        Args:
            name: of the silo.
            public: its key.
            force: replace another key of the silo.

        Returns:
            The id of the key that was replaced, or None.

        Raises:
            InvalidInput: the silo has another key, another silo has this key, or the name is no client id.
        """
        file = self._file(name)
        for other, known in self.keys().items():
            if other != name and known == public:
                raise InvalidInput(
                    f"Key {key_id(public)} is that of silo {other!r}; with one key, {other!r} and {name!r} "
                    "could answer for each other.",
                    next_step=f"Let {name!r} enrol with a key pair of its own.",
                    silo=other,
                )
        before = self.keys().get(name)
        if before == public:
            return None
        if before is not None and not force:
            raise self._other_key(name, before, public)
        if before is None:
            try:
                create_exclusively(file, public_pem(public))
            except FileExistsError as error:
                raise self._other_key(name, self.key_of(name), public) from error
            return None
        write_atomically(file, public_pem(public))
        return key_id(before)

    def key_of(self, name: str) -> Ed25519PublicKey:
        """The silo's public key.

        Raises:
            NotFound: no key of it is trusted.
            InvalidInput: the file holds none, or the name is no client id.
        """
        file = self._file(name)
        try:
            return read_public(file.read_bytes(), str(file))
        except FileNotFoundError as error:
            raise NotFound(
                f"No key of silo {name!r} is trusted: {file} does not exist.",
                next_step=f"Let the silo run fedrec silo enrol --name {name}, then run "
                f"fedrec trust {name} FILE with its public.pem.",
                silo=name,
            ) from error

    def keys(self) -> dict[str, Ed25519PublicKey]:
        """Silo -> its public key, in the order of the names.

        Raises:
            InvalidInput: a file holds none.
        """
        return {
            file.stem: read_public(file.read_bytes(), str(file))
            for file in sorted(self._folder.glob("*.pem"))
        }

    def remove(self, name: str) -> str:
        """No answer of the silo is accepted any more.

        Returns:
            The id of its key.

        Raises:
            NotFound: no key of it is trusted.
        """
        removed = key_id(self.key_of(name))
        self._file(name).unlink()
        return removed

    @property
    def _folder(self) -> Path:
        return self.home.root / "trusted_silos"

    def _file(self, name: str) -> Path:
        require_silo_name(name)
        return self._folder / f"{name}.pem"

    def _other_key(self, name: str, before: Ed25519PublicKey, now: Ed25519PublicKey) -> InvalidInput:
        return InvalidInput(
            f"Silo {name!r} is trusted with key {key_id(before)}, and this is another: {key_id(now)}.",
            next_step="Ask the silo's owner, by another way than this file came, whether the key was "
            "changed; then repeat with --force.",
            silo=name,
            before=key_id(before),
            now=key_id(now),
        )


def require_silo_name(name: str) -> None:
    """Nothing happens where the name can be a client id.

    Raises:
        InvalidInput: it cannot; it might even name a file elsewhere.
    """
    # Here, because it brings pandas along.
    from tasks.datasets.partition_reader import CLIENT_ID

    if not CLIENT_ID.fullmatch(name):
        raise InvalidInput(
            f"{name!r} is no name of a silo.",
            next_step="A name has lower-case letters, digits, dots, underscores and hyphens, and starts with "
            "a letter, a digit or an underscore.",
            name=name,
        )
