"""The record of a job's opening."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from models.errors import CorruptArtifact
from models.ledger.head import Head
from models.privacy.guarantee import Guarantee
from tasks.messages.record import Record


@dataclass(frozen=True)
class EarlierState:
    """The source of a client's user embeddings in an earlier job.

    Attributes:
        job_id: the earlier job.
        round: the last round of that job in which the client was accepted.
    """

    job_id: str
    round: int


@dataclass(frozen=True)
class Continued:
    """An earlier job of fewer rounds, whose first rounds a job has in common with it and takes over.

    Attributes:
        job_id: the earlier job.
        round: the last round that is taken over.
    """

    job_id: str
    round: int


@dataclass(frozen=True, kw_only=True)
class JobOpening(Record):
    """The inputs of a job, fixed when it is opened.

    Attributes:
        config: the training configuration as JSON values.
        data_digest: digest of the training data.
        git_revision: the checkout's commit.
        opened_at: time of the opening, as ISO 8601 in UTC.
        starting_points: client id -> the user embeddings that belong to the model the job starts from. Empty
            for a fresh model.
        differing: dotted keys of the settings that differ from their defaults, the most telling first.
        parameters: dotted keys of the settings by which the job is compared with others.
        quality: name of the metric that decides between models of this family, such as "ndcg@10".
        series: fingerprint of everything that determines the result but the number of rounds, so that jobs
            of one series differ in nothing else.
        shared_rounds: number of the first rounds that a longer job of the series has in common with this one.
        continued: the job whose first rounds this one has taken over; None if it trained all itself.
        privacy: what the job promises to each of its users, for which its account was charged before it was
            opened; None if clients add no noise.
        account_head: the head of that account once it was charged; None without privacy, and in records of
            older versions.
    """

    config: Mapping[str, JsonValue]
    data_digest: str
    git_revision: str
    opened_at: str
    starting_points: Mapping[str, EarlierState]
    differing: tuple[str, ...] | None = None
    parameters: tuple[str, ...] | None = None
    quality: str | None = None
    series: str | None = None
    shared_rounds: int | None = None
    continued: Continued | None = None
    privacy: Guarantee | None = None
    account_head: Head | None = None

    @property
    def name(self) -> str:
        """Return the configuration's name, which is also the name of the MLflow experiment."""
        return self._text("name")

    @property
    def model_name(self) -> str:
        """Return the name of the registered model of which rounds become versions."""
        return self._text("model_name")

    @property
    def family(self) -> str:
        """Return the name of the family that the job trains."""
        return self._text("train", "family")

    @property
    def rounds(self) -> int:
        """Return the number of rounds of the whole job."""
        value = self._setting("federation", "rounds")
        if not isinstance(value, int):
            raise CorruptArtifact(f"The configuration of a job has an invalid number of rounds: {value!r}.")
        return value

    @property
    def exchange_url(self) -> str | None:
        """Return the URL of the exchange; None for the exchange in the coordinator's home."""
        url = self._setting("runner", "exchange")
        return None if url is None else str(url)

    def setting(self, key: str) -> JsonValue:
        """Return the value of a dotted key; None if the configuration has no such key."""
        try:
            return self._setting(*key.split("."))
        except CorruptArtifact:
            return None

    def _text(self, *keys: str) -> str:
        value = self._setting(*keys)
        if not isinstance(value, str):
            raise CorruptArtifact(f"The configuration of a job has an invalid {'.'.join(keys)!r}: {value!r}.")
        return value

    def _setting(self, *keys: str) -> JsonValue:
        value: object = self.config
        for key in keys:
            if not isinstance(value, Mapping) or key not in value:
                raise CorruptArtifact(f"The configuration of a job lacks {'.'.join(keys)!r}.")
            value = value[key]
        return value  # type: ignore[return-value]
