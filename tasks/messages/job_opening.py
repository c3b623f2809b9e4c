"""What a job was opened with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from models.errors import CorruptArtifact
from tasks.messages.record import Record


@dataclass(frozen=True)
class EarlierState:
    """Where a client's user embeddings of an earlier job come from.

    Attributes:
        job_id: of the job that made them.
        round: the last one of that job in which the client was accepted.
    """

    job_id: str
    round: int


@dataclass(frozen=True, kw_only=True)
class JobOpening(Record):
    """What a job was opened with; never changes.

    Attributes:
        config: the training configuration as JSON values.
        data_digest: what it trains on.
        git_revision: the checkout's commit.
        opened_at: when, as ISO 8601 in UTC.
        starting_points: by client, the user embeddings that belong to the model it starts from; empty for a
            fresh one.
    """

    config: Mapping[str, JsonValue]
    data_digest: str
    git_revision: str
    opened_at: str
    starting_points: Mapping[str, EarlierState]

    @property
    def name(self) -> str:
        """Return the configuration's name, which is the experiment's in MLflow."""
        return self._text("name")

    @property
    def model_name(self) -> str:
        """Return the registered model that rounds become versions of."""
        return self._text("model_name")

    @property
    def family(self) -> str:
        """Return which family of models the job trains."""
        return self._text("train", "family")

    @property
    def exchange_url(self) -> str | None:
        """Return where models and updates travel; None for the exchange of the coordinator's home."""
        url = self._setting("runner", "exchange")
        return None if url is None else str(url)

    def _text(self, *keys: str) -> str:
        value = self._setting(*keys)
        if not isinstance(value, str):
            raise CorruptArtifact(f"The configuration of a job has a wrong {'.'.join(keys)!r}: {value!r}.")
        return value

    def _setting(self, *keys: str) -> JsonValue:
        value: object = self.config
        for key in keys:
            if not isinstance(value, Mapping) or key not in value:
                raise CorruptArtifact(f"The configuration of a job lacks {'.'.join(keys)!r}.")
            value = value[key]
        return value  # type: ignore[return-value]
