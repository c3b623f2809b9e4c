"""What each silo fetches for the newest model: the model, or the round's sum if it has the model before."""

from __future__ import annotations

from collections.abc import Iterable

from tasks.exchange.store import ArtifactRef
from tasks.messages.orders import ModelStep


class Downloads:
    """What the silos of one job have and fetch. A process that continues a job begins with nothing known."""

    def __init__(self) -> None:
        self._step: ModelStep | None = None
        self._has: dict[str, ArtifactRef] = {}
        self._sizes: dict[str, int] = {}

    def offer(self, step: ModelStep | None) -> None:
        """Let silos fetch the newest model by this step; None if there is none."""
        self._step, self._sizes = step, {}

    def step_for(self, client_id: str, base: ArtifactRef) -> ModelStep | None:
        """Return the step by which a client gets this model; None if it has it, or fetches it whole."""
        known = self._has.get(client_id)
        if known == base:
            return None
        step = self._step if self._step and known == self._step.before else None
        self._sizes[client_id] = step.sum.size if step else base.size
        return step

    def note_answers(self, client_ids: Iterable[str], base: ArtifactRef) -> None:
        """Note that these clients have worked with this model."""
        self._has |= dict.fromkeys(client_ids, base)

    def size_for(self, client_id: str, base: ArtifactRef) -> int:
        """Return the bytes that a client fetched for this model."""
        return self._sizes.get(client_id, base.size)
