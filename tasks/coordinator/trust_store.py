"""The coordinator's store of the silos' public keys: one PEM file per silo."""

from __future__ import annotations

import contextlib
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
        """Trust this key: from now on it verifies the silo's answers.

        Args:
            name: of the silo.
            public: its key.
            force: replace another key of the silo.

        Returns:
            The id of the key that was replaced, or None.

        Raises:
            InvalidInput: the silo has another key and `force` is false, another silo has this key, or the
                name is not a client id.
        """
        file = self._file(name)
        for other, known in self.keys().items():
            if other != name and known == public:
                raise InvalidInput(
                    f"Key {key_id(public)} belongs to silo {other!r}. If both had it, {other!r} and {name!r} "
                    "could answer for each other.",
                    next_step=f"Have {name!r} enrol with its own key pair.",
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
            self._restore(public)
            return None
        self._revoke(name, key_id(before))
        write_atomically(file, public_pem(public))
        self._restore(public)
        return key_id(before)

    def key_of(self, name: str) -> Ed25519PublicKey:
        """Return the silo's public key.

        Raises:
            NotFound: no key of the silo is trusted.
            InvalidInput: the file is not a public key, or the name is not a client id.
        """
        file = self._file(name)
        try:
            return read_public(file.read_bytes(), str(file))
        except FileNotFoundError as error:
            raise NotFound(
                f"No key of silo {name!r} is trusted: {file} does not exist.",
                next_step=f"Have the silo run fedrec silo enrol --name {name}, then run "
                f"fedrec trust {name} FILE with its public.pem.",
                silo=name,
            ) from error

    def keys(self) -> dict[str, Ed25519PublicKey]:
        """Return each silo's public key by name, sorted by name.

        Raises:
            InvalidInput: a file is not a public key.
        """
        found = {}
        for file in sorted(self._folder.glob("*.pem")):
            # It may be removed between the two calls.
            with contextlib.suppress(FileNotFoundError):
                found[file.stem] = read_public(file.read_bytes(), str(file))
        return found

    def stamp(self) -> tuple[int, ...]:
        """Return a value that differs after each change of the keys."""
        return tuple(
            folder.stat().st_mtime_ns if folder.exists() else 0 for folder in (self._folder, self._revoked)
        )

    def revoked(self) -> dict[str, str]:
        """Return the silo's name by the id of each key that was removed or replaced."""
        return {file.stem: file.read_text(encoding="utf-8") for file in sorted(self._revoked.glob("*.txt"))}

    def last_revoked(self, name: str) -> float:
        """Return the Unix time at which a key of this silo was last removed or replaced; 0 if none was."""
        times = [0.0]
        for file in self._revoked.glob("*.txt"):
            with contextlib.suppress(FileNotFoundError):
                if file.read_text(encoding="utf-8") == name:
                    times.append(file.stat().st_mtime)
        return max(times)

    def remove(self, name: str) -> str:
        """Remove the silo's key, so that no answer of the silo is accepted any more.

        Returns:
            The id of the removed key.

        Raises:
            NotFound: no key of the silo is trusted.
        """
        removed = key_id(self.key_of(name))
        self._revoke(name, removed)
        self._file(name).unlink()
        return removed

    def _restore(self, public: Ed25519PublicKey) -> None:
        (self._revoked / f"{key_id(public)}.txt").unlink(missing_ok=True)

    def _revoke(self, name: str, old: str) -> None:
        write_atomically(self._revoked / f"{old}.txt", name.encode())

    @property
    def _folder(self) -> Path:
        return self.home.root / "trusted_silos"

    @property
    def _revoked(self) -> Path:
        return self._folder / "revoked"

    def _file(self, name: str) -> Path:
        require_silo_name(name)
        return self._folder / f"{name}.pem"

    def _other_key(self, name: str, before: Ed25519PublicKey, now: Ed25519PublicKey) -> InvalidInput:
        return InvalidInput(
            f"Silo {name!r} is trusted with key {key_id(before)}, but this file has key {key_id(now)}.",
            next_step="Ask the silo's owner, through another channel than the one that brought this file, "
            "whether the key was changed. Then repeat with --force.",
            silo=name,
            before=key_id(before),
            now=key_id(now),
        )


def require_silo_name(name: str) -> None:
    """Raise `InvalidInput` unless the name is a valid client id; another name could be a path elsewhere."""
    # Imported here, because it imports pandas.
    from tasks.datasets.partition_reader import CLIENT_ID

    if not CLIENT_ID.fullmatch(name):
        raise InvalidInput(
            f"{name!r} is not a valid silo name.",
            next_step="Use lower-case letters, digits, dots, underscores and hyphens. Start with a letter, a "
            "digit or an underscore.",
            name=name,
        )
