"""The flow in which a silo does one step for the coordinator, run by the silo's own worker."""

from __future__ import annotations

from typing import Any

from prefect import flow

from flows.silo.settings import load_silo_settings
from models.errors import SiloFailed
from tasks.local.environment import apply
from tasks.messages.steps import StepOrder
from tasks.silos.perform_step import note_failure, perform_step


@flow(name="silo-step", persist_result=False)
def silo_step(order: dict[str, Any]) -> None:
    """Do one step on the silo's data and put the signed answer into the exchange.

    Args:
        order: the coordinator's order, as `tasks.messages.steps.StepOrder` writes it.
    """
    home = apply()
    try:
        silo = load_silo_settings().silo(home)
        perform_step(silo, StepOrder.of_json(order))
    except Exception as error:  # noqa: BLE001 - no error may leave the silo
        # An error's message may name users and items, and Prefect would send it to the coordinator.
        note_failure(home, error)
        raise SiloFailed(
            f"{type(error).__name__}; the silo's own log has the details.", error=type(error).__name__
        ) from None
