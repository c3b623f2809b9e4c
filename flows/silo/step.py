"""What a silo does for the coordinator, as a flow that its own worker runs beside its data."""

from __future__ import annotations

from typing import Any

from prefect import flow

from flows.silo.settings import load_silo_settings
from models.errors import SiloFailed
from tasks.local.environment import apply
from tasks.messages.steps import StepOrder
from tasks.silos.perform_step import Silo, note_failure, work


@flow(name="silo-step", persist_result=False)
def silo_step(asked: dict[str, Any]) -> None:
    """One step is done beside the silo's data, and its signed answer lies in the exchange.

    Args:
        asked: the coordinator's order, as `tasks.messages.steps.StepOrder` writes it.
    """
    home = apply()
    try:
        settings = load_silo_settings()
        silo = Silo(
            home=home,
            name=settings.name,
            exchange_url=settings.exchange,
            source=settings.data_source(),
            policy=settings.policy,
            min_users=settings.policy.min_users,
            keep_jobs=settings.keep_jobs,
        )
        work(silo, StepOrder.of_json(asked))
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not leave
        # What an error says may name users and items, and Prefect would carry it to the coordinator.
        note_failure(home, error)
        raise SiloFailed(
            f"{type(error).__name__}; the silo's own log says more.", error=type(error).__name__
        ) from None
