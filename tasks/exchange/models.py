"""Global models fetched from the exchange, each decoded once a process."""

from __future__ import annotations

from functools import lru_cache

from models.federation.model import GlobalModel
from tasks.exchange.codec import decode_model
from tasks.exchange.store import ArtifactRef, Exchange


# All clients of a round on one machine start from one model; a merge adds the next one.
@lru_cache(maxsize=4)
def fetch_model(exchange_url: str, ref: ArtifactRef) -> GlobalModel:
    """The model that `ref` names.

    Raises:
        CorruptArtifact: its bytes are missing, changed, or no model.
    """
    return decode_model(Exchange(exchange_url).get(ref), f"The model {ref.path}")
