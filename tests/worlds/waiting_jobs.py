"""Jobs whose messages wait for MLflow, and an MLflow that refuses some of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pytest
from mlflow import MlflowClient

from models.kernel.catalog import ItemCatalog
from tasks.exchange.store import Exchange
from tasks.jobs.journal import Journal, held
from tasks.jobs.outbox import outbox_of
from tasks.local.home import Home
from tasks.messages.outbox_messages import (
    BreachMessage,
    LineageMessage,
    OpeningMessage,
    OutboxMessage,
    ResultMessage,
    RoundMessage,
)
from tasks.messages.round_record import TrackedRound
from tasks.tracking import registry
from tests.worlds.records import CONFIG, evaluation, job_result, opening, round_record

ITEMS = pd.DataFrame({"item_id": ["1", "2"], "title": ["One", "Two"]})
NOTE = TrackedRound(version=None, metrics={}, evaluation=None, seconds={"total": 1.0})


@dataclass
class Job:
    """A job of two rounds, all of whose messages wait: numbers 1 to 6."""

    home: Home
    journal: Journal
    messages: list[OutboxMessage]

    @property
    def client(self) -> MlflowClient:
        return registry.client(self.home)

    def waiting(self) -> list[int]:
        return [each.number for each in outbox_of(self.journal).waiting()]

    def refused(self) -> dict[int, tuple[str, int | None]]:
        """Return number -> what was set aside, and the refused message that it follows."""
        found = outbox_of(self.journal).refused()
        return {each.number: (each.refusal.what, each.refusal.follows) for each in found}

    def reason(self, number: int) -> str:
        (found,) = [each for each in outbox_of(self.journal).refused() if each.number == number]
        return found.refusal.reason

    def rounds(self) -> dict[int, int]:
        """Return version -> round."""
        found = self.client.search_model_versions(f"name = '{self.journal.opening.model_name}'")
        mine = [each for each in found if each.tags["fedrec.job"] == self.journal.job_id]
        return {int(each.version): int(each.tags["fedrec.round"]) for each in mine}

    def status(self) -> list[str]:
        experiment = self.client.get_experiment_by_name(self.journal.opening.name)
        return [run.info.status for run in self.client.search_runs([experiment.experiment_id])]


def job_with_waiting_messages(
    home: Home, name: str, model_name: str, items: pd.DataFrame = ITEMS, family: str = "lightfm"
) -> Job:
    config = CONFIG | {"name": name, "model_name": model_name, "train": {"family": family}}
    exchange = Exchange(home.exchange.as_uri())
    with held(home.jobs, name, "k" * 8, opening(config=config)) as journal:
        messages: list[OutboxMessage] = [
            OpeningMessage(config=config),
            LineageMessage(data={"ash": ("a" * 64, "file:///ash")}),
            BreachMessage(round=1, subject="round-1", text="{}"),
        ]
        for round_ in range(3):
            ref = exchange.put(f"{journal.job_id}/models", f"{name} {round_}".encode())
            record = round_record(
                round_,
                job_id=journal.job_id,
                model_path=ref.path,
                model_sha256=ref.sha256,
                model_bytes=ref.size,
                catalog_digest=ItemCatalog.of(items["item_id"]).digest,
            )
            journal.commit(record)
            if round_:
                evaluated = record.with_evaluation(evaluation(ash=(1.0, 4.0)))
                messages.append(RoundMessage(record=evaluated, metrics={"drift": 0.5}, note=NOTE))
        result = job_result(job_id=journal.job_id)
        messages.append(ResultMessage(result=result, metrics={"test/x": 1.0}, tables={}))
        (journal.folder / "report").mkdir()
        (journal.folder / "report" / "report.html").write_text("report")
        for each in messages:
            outbox_of(journal).put(each)
        items.to_parquet(outbox_of(journal).folder / "items.parquet")
        journal.conclude(result)
    return Job(home, Journal(journal.folder), messages)


@contextmanager
def refusing(method: str, error: BaseException, only: str = "") -> Iterator[None]:
    """Let a method of MLflow's client raise the error if `only` is in its arguments."""
    original = getattr(MlflowClient, method)

    def refuse(self: MlflowClient, *args: Any, **kwargs: Any) -> Any:
        if only in repr((args, kwargs)):
            raise error
        return original(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MlflowClient, method, refuse)
        yield
