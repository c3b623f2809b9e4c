"""The folders of the exchange, relative to its root."""

from __future__ import annotations


def models_folder(job_id: str) -> str:
    """Return the folder of a job's global models."""
    return f"{job_id}/models"


def model_steps_folder(job_id: str) -> str:
    """Return the folder of the sums from which a job's models follow one another."""
    return f"{job_id}/steps"


def catalog_folder(job_id: str) -> str:
    """Return the folder of a job's item catalogue."""
    return f"{job_id}/catalog"


def updates_folder(job_id: str) -> str:
    """Return the folder of all updates of a job's local clients."""
    return f"{job_id}/updates"


def group_updates_folder(job_id: str, round_: int) -> str:
    """Return the folder of a round's updates by local clients in groups."""
    return f"{updates_folder(job_id)}/{round_:06d}"


def client_updates_folder(job_id: str, round_: int, client_id: str) -> str:
    """Return the folder of a local client's updates of a round, for clients that have a task of their own."""
    return f"{group_updates_folder(job_id, round_)}/{client_id}"


def silo_folder(silo: str) -> str:
    """Return the only folder that a silo writes to."""
    return f"silos/{silo}"


def silo_job_folder(silo: str, job_id: str) -> str:
    """Return the folder of everything that a silo sends in a job."""
    return f"{silo_folder(silo)}/{job_id}"


def silo_updates_folder(silo: str, job_id: str, round_: int) -> str:
    """Return the folder of a silo's updates of a round."""
    return f"{silo_job_folder(silo, job_id)}/updates/{round_:06d}"


def silo_answers_folder(silo: str, job_id: str, round_: int, step: str) -> str:
    """Return the folder of a silo's signed answers to a step of a round."""
    return f"{silo_job_folder(silo, job_id)}/answers/{round_:06d}-{step}"
