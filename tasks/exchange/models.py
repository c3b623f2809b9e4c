"""Global models from the exchange, each fetched and decoded once per process."""

from __future__ import annotations

from functools import lru_cache

from models.federation.model import GlobalModel
from tasks.exchange.codec import decode_model
from tasks.exchange.store import ArtifactRef, open_exchange


# All clients of a round on one machine start from the same model, and the merge adds the next one.
@lru_cache(maxsize=4)
def fetch_model(exchange_url: str, ref: ArtifactRef) -> GlobalModel:
    """Return the model that `ref` names.

    Raises:
        CorruptArtifact: its bytes are missing, were changed or are not a model.
    """
    return decode_model(open_exchange(exchange_url).get(ref), f"The model {ref.path}")
