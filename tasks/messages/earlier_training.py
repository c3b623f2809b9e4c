"""The training that a job's initial model has had in earlier jobs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EarlierTraining:
    """The training of the champion that a job starts from, in all jobs of its lineage.

    Attributes:
        version: the champion.
        rounds: number of its rounds in all; None if that was not recorded.
        jobs: the jobs that may have trained it on interactions that this job holds out. Jobs that hold out
            the same interactions are not among them.
    """

    version: int
    rounds: int | None
    jobs: tuple[str, ...] = ()

    def rounds_with(self, rounds: int) -> int | None:
        """Return the rounds of the model after `rounds` more; None if that is not known."""
        return None if self.rounds is None else self.rounds + rounds
