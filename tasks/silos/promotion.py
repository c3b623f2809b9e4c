"""What the gateway says is promoted, as a silo reads it: nothing in it may lead out of a folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data_contracts.strict_json import read_exactly
from tasks.local.plain_name import is_plain_name

_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_FILES, _MAX_FILE_BYTES = 200, 4_000_000_000
# As long as a name of MLflow's may be.
_LONGEST_MODEL_NAME = 256


@dataclass(frozen=True)
class PromotedFile:
    """A file of a bundle.

    Attributes:
        name, sha256, bytes: its name, SHA-256 and length.
    """

    name: str
    sha256: str
    bytes: int

    def __post_init__(self) -> None:
        if not is_plain_name(self.name) or not _SHA256.fullmatch(self.sha256):
            raise ValueError(f"{self.name!r} with {self.sha256!r} is no file of a bundle")
        if not 0 <= self.bytes <= _MAX_FILE_BYTES:
            raise ValueError(f"{self.name} has {self.bytes} bytes, expected 0 to {_MAX_FILE_BYTES}")


@dataclass(frozen=True)
class Promotion:
    """The champion of a model.

    Attributes:
        model_name: the registered model.
        bundle: name of the champion's bundle.
        manifest_sha256: SHA-256 of its manifest.
        decision: who promoted it, when and why, with the gates' results.
        files: all files of the bundle, also the manifest.
    """

    model_name: str
    bundle: str
    manifest_sha256: str
    decision: Mapping[str, Any]
    files: tuple[PromotedFile, ...]

    @classmethod
    def of_json(cls, value: object) -> Promotion:
        """Return the promotion that the gateway describes.

        Raises:
            ValueError, TypeError: it is none.
        """
        return read_exactly(cls, value)

    def __post_init__(self) -> None:
        # The publisher's folders begin with the version's number.
        if not is_plain_name(self.bundle) or not self.bundle[0].isdigit():
            raise ValueError(f"{self.bundle!r} is no name of a bundle")
        if not 1 <= len(self.model_name) <= _LONGEST_MODEL_NAME:
            raise ValueError(f"the model's name does not have 1 to {_LONGEST_MODEL_NAME} characters")
        if len(self.files) > _MAX_FILES:
            raise ValueError(f"bundle {self.bundle} has {len(self.files)} files, at most {_MAX_FILES} may be")
        if len({file.name for file in self.files}) != len(self.files):
            raise ValueError(f"two files of bundle {self.bundle} have the same name")
