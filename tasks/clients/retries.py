"""Which failures of a client's step are tried again, and how often."""

from __future__ import annotations

from models.errors import FedrecError

RETRIES = 2
RETRY_DELAY_S = 1


def is_transient(error: object) -> bool:
    """Return whether to try a step again that failed with this error: yes, unless it is fedrec's own."""
    return not isinstance(error, FedrecError)
