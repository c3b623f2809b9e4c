"""Silos that perform orders of secure sums on their own data, and whatever coordinator a test plays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from data_contracts.interactions import InteractionLimits
from models.federation.envelope import AnswerContext
from models.federation.model import GlobalModel
from models.federation.vector_form import VectorForm
from models.recommenders.lightfm.training import initial_items
from models.secure_sum.cohort import read_cohort
from models.secure_sum.coordinator import SecureSum
from models.secure_sum.session import Session
from tasks.clients.sum_steps import ANNOUNCEMENT
from tasks.datasets.client_assignment import ByColumn
from tasks.datasets.partition import make_partition
from tasks.datasets.partition_reader import open_partition
from tasks.datasets.source import FolderSource
from tasks.exchange.codec import decode_masked, encode_model
from tasks.exchange.store import ArtifactRef, Exchange
from tasks.local.home import Home
from tasks.messages.answers import Delivery, answer_of_json
from tasks.messages.orders import ClientOrder, JobContext, StartingPoint
from tasks.messages.steps import Step, StepOrder
from tasks.messages.sum_forms import training_form
from tasks.messages.sum_orders import SumOrder
from tasks.silos.egress_ledger import EgressLedger
from tasks.silos.keys import load_key, make_key
from tasks.silos.perform_step import Silo, perform_step
from tasks.silos.roster import add_member
from tasks.silos.signed_answers import open_sealed
from tests.conftest import small_tables
from tests.worlds.jobs import job_of

NAMES = ("ash", "birch", "cedar", "elm")
TRAIN = "train-000001"


@dataclass(frozen=True)
class Allowed:
    """A policy under which updates and figures may leave."""

    may_leave: tuple[str, ...] = ("check", "update", "evaluation")
    max_update_bytes: int = 1_000_000


@dataclass
class SummingSilos:
    """Four silos whose owners gave each other their keys, an exchange, and the job's orders.

    Attributes:
        root: of everything.
        job: as the coordinator sends it.
        silos: by name.
    """

    root: Path
    job: JobContext
    silos: dict[str, Silo]

    @classmethod
    def below(cls, root: Path, **tables: int) -> SummingSilos:
        """Return silos of six users each, which have not been asked anything; see `small_tables`."""
        paths = small_tables(root / "tables", **tables)
        users = pd.read_csv(paths["users"])
        users["town"] = [NAMES[number % len(NAMES)] for number in range(len(users))]
        users.to_csv(paths["users"], index=False)
        make_partition(
            paths["interactions"],
            root / "partition",
            ByColumn("town"),
            items=paths["items"],
            users=paths["users"],
        )
        job = job_of(root / "partition", root, secure_sum=True, cohort=len(NAMES))
        found = cls(root, job, {name: _enrolled(root, name, job.exchange_url) for name in NAMES})
        for name in NAMES:
            for other in NAMES:
                if other != name:
                    add_member(found.silos[name].home, other, load_key(found.silos[other].home).public)
        return found

    @property
    def exchange(self) -> Exchange:
        return Exchange(self.job.exchange_url)

    @cached_property
    def base(self) -> GlobalModel:
        catalog = open_partition(self.job.data_dir).catalog
        return GlobalModel(0, catalog.digest, initial_items(len(catalog), 4, 7))

    @cached_property
    def base_ref(self) -> ArtifactRef:
        return self.exchange.put("job-1/models", encode_model(self.base))

    @property
    def form(self) -> VectorForm:
        return training_form(self.job, self.job.family.rule(), self.base, len(NAMES))

    def order(
        self, step: Step, name: str, asked: SumOrder | None, round_: int | None = None, **job: Any
    ) -> StepOrder:
        """Return an order; `job` replaces parts of the job that the coordinator sends."""
        round_ = int(step == "train") if round_ is None else round_
        sent = replace(self.job, **job)
        order = ClientOrder(sent, name, round_, self.base_ref, StartingPoint(None, 0), sum=asked)
        if step == "compare":
            return StepOrder(step, order, {"alone_rounds": 2})
        if step != "check":
            return StepOrder(step, order)
        items = self.exchange.put("job-1/catalog", open_partition(self.job.data_dir).items_path.read_bytes())
        return StepOrder(step, order, {"limits": asdict(InteractionLimits()), "items": asdict(items)})

    def ask(self, step: Step, name: str, asked: SumOrder | None = None, **changes: Any) -> Any:
        """Return the silo's answer to an order that has travelled as JSON."""
        ordered = self.order(step, name, asked, **changes)
        travelled = StepOrder.of_json(json.loads(json.dumps(ordered.as_json())))
        ref, order = perform_step(self.silos[name], travelled)[-1], ordered.order
        kind = order.answer_kind(step)
        question = AnswerContext(name, kind, "job-1", order.round, order.base.sha256)
        public = load_key(self.silos[name].home).public
        return answer_of_json(step, name, open_sealed(self.exchange.get(ref), question, public), 0.0)

    @cached_property
    def announcements(self) -> Mapping[str, bytes]:
        """Return the members' keys; the first use checks all silos' data."""
        for name in NAMES:
            self.ask("check", name)
        return {name: self.ask("announce", name).messages[ANNOUNCEMENT] for name in NAMES}

    def sum_order(
        self, request: bytes = b"", members: tuple[str, ...] = NAMES, sum_id: str = TRAIN
    ) -> SumOrder:
        return SumOrder({sum_id: members}, {each: self.announcements[each] for each in members}, {}, request)

    def session(self, members: tuple[str, ...] = NAMES, sum_id: str = TRAIN) -> Session:
        roster = {name: load_key(self.silos[name].home).public for name in members}
        announcements = {name: self.announcements[name] for name in members}
        return Session(read_cohort("job-1", roster, announcements), sum_id)

    def protocol(self, members: tuple[str, ...] = NAMES, sum_id: str = TRAIN) -> SecureSum:
        """Return the coordinator's side of a sum."""
        return SecureSum(self.session(members, sum_id), self.form.layout)

    def prepared(self, members: tuple[str, ...] = NAMES, sum_id: str = TRAIN) -> SecureSum:
        """Return the coordinator's side after the members have prepared."""
        found = self.protocol(members, sum_id)
        for name in members:
            answer = self.ask("prepare", name, self.sum_order(members=members, sum_id=sum_id))
            found.add_prepared(name, answer.messages[sum_id])
        return found

    def masked(self, arrived: tuple[str, ...] = NAMES) -> SecureSum:
        """Return the coordinator's side after these have trained and masked."""
        found = self.prepared()
        for name in arrived:
            answer = self.ask("train", name, self.sum_order(found.mask_request(name)))
            found.add_masked(name, self.message_of(answer))
        return found

    def message_of(self, delivery: Delivery) -> bytes:
        return decode_masked(self.exchange.get(delivery.update))

    def agreed(self, protocol: SecureSum) -> None:
        """Let all vote for what the coordinator's side has."""
        for name in protocol.agreement.survivors or NAMES:
            answer = self.ask("agree", name, self.sum_order(protocol.agree_request(name)))
            protocol.add_agreed(name, answer.messages[TRAIN])

    def left(self, name: str) -> list[Path]:
        """Return the silo's objects in the exchange."""
        folder = Path(self.exchange.url.removeprefix("file://")) / "silos" / name
        return sorted(path for path in folder.rglob("*") if path.is_file())

    def entries(self, name: str) -> list[dict[str, Any]]:
        ledger = EgressLedger(self.silos[name].home)
        return [dict(entry.body) for entry in ledger.read_verified().entries]


def _enrolled(root: Path, name: str, exchange_url: str) -> Silo:
    home = Home(root / "homes" / name)
    make_key(home)
    data = root / "shops" / name
    data.mkdir(parents=True)
    partition = open_partition(root / "partition")
    pd.read_parquet(partition.client(name).path).to_csv(data / "sales.csv", index=False)
    return Silo(home, name, exchange_url, FolderSource(data), Allowed(), min_users=1)
