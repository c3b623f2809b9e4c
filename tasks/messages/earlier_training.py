"""The training that a job's initial model has had in earlier jobs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SplitFacts:
    """What decides which interactions a job holds out.

    Attributes:
        data_digest: digest of its data.
        seed: seed of its evaluation, which splits ratings and histories without times.
    """

    data_digest: str
    seed: int


@dataclass(frozen=True)
class EarlierJob:
    """A job that trained the model before.

    Attributes:
        job_id: the job.
        split: what it held out; None if that is not known.
    """

    job_id: str
    split: SplitFacts | None


@dataclass(frozen=True)
class EarlierTraining:
    """The training of the champion that a job starts from, in all jobs of its lineage.

    Attributes:
        version: the champion.
        rounds: number of its rounds in all; None if that was not recorded.
        jobs: the jobs.
    """

    version: int
    rounds: int | None
    jobs: tuple[EarlierJob, ...] = ()

    def rounds_with(self, rounds: int) -> int | None:
        """Return the rounds of the model after `rounds` more; None if that is not known."""
        return None if self.rounds is None else self.rounds + rounds

    def other_jobs(self, split: SplitFacts | None) -> tuple[str, ...]:
        """Return the jobs that may have trained on what `split` holds out: all that did not hold it out, too.

        Args:
            split: of the job that starts; None if it is not known.
        """
        return tuple(each.job_id for each in self.jobs if each.split is None or each.split != split)
