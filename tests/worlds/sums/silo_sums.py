"""Silos as members of secure sums, each with files of its own, and an honest coordinator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from models.federation.contribution import Contribution
from models.federation.vector_form import NoArrays, VectorForm
from models.kernel.metric import Metric
from models.recommenders.lightfm.spec import LightFMSpec
from models.secure_sum.cohort import read_cohort
from models.secure_sum.coordinator import SecureSum
from models.secure_sum.session import Session
from tasks.clients.sum_member import SumMember, SumRules
from tasks.exchange.store import ArtifactRef
from tasks.messages.orders import ClientOrder, JobContext, StartingPoint
from tasks.messages.sum_orders import SumOrder

USERS = "users"
SUM = "train-000001"


@dataclass
class SiloSums:
    """Silos whose owners gave each other their keys. The contribution of the first is of one user, and so on.

    Attributes:
        folder: parent of the silos' folders.
        names: the silos, sorted.
        min_cohort: of all of them.
    """

    folder: Path
    names: tuple[str, ...] = ("ash", "birch", "cedar", "elm")
    min_cohort: int = 3
    identities: dict[str, Ed25519PrivateKey] = field(init=False)

    def __post_init__(self) -> None:
        self.identities = {name: Ed25519PrivateKey.generate() for name in self.names}

    def rules_of(self, name: str) -> SumRules:
        roster = {other: key.public_key() for other, key in self.identities.items()}
        return SumRules(self.identities[name], roster, self.min_cohort)

    @property
    def form(self) -> VectorForm:
        return VectorForm(NoArrays(), {}, (USERS,), len(self.names))

    def contribution(self, name: str) -> Contribution[NoArrays]:
        return Contribution(NoArrays(), metrics={USERS: Metric(1.0 + self.names.index(name), 1.0)})

    def home(self, name: str) -> Path:
        """Return the folder of a silo's files about its sums."""
        return self.folder / name / "sums" / "job-1"

    def member(
        self,
        name: str,
        members: tuple[str, ...] = (),
        request: bytes = b"",
        sum_id: str = SUM,
        rules: SumRules | None = None,
    ) -> SumMember:
        """Return the silo as a process that has just started and received this order."""
        asked = SumOrder({sum_id: members}, self.announcements, {}, request) if members else None
        return SumMember(self.order(name, asked), rules or self.rules_of(name))

    def order(self, name: str, asked: SumOrder | None = None) -> ClientOrder:
        job = JobContext("job-1", 7, LightFMSpec(), "file:///x", "", "", str(self.folder), 5, 9)
        return ClientOrder(job, name, 1, ArtifactRef("m", "b" * 64, 9), StartingPoint(None, 0), sum=asked)

    @cached_property
    def announcements(self) -> Mapping[str, bytes]:
        return {name: self.member(name).announce() for name in self.names}

    def protocol(self, members: tuple[str, ...], sum_id: str = SUM) -> SecureSum:
        """Return the coordinator's side of a sum."""
        roster = {name: self.identities[name].public_key() for name in members}
        announcements = {name: self.announcements[name] for name in members}
        return SecureSum(Session(read_cohort("job-1", roster, announcements), sum_id), self.form.layout)

    def prepared(self, members: tuple[str, ...], sum_id: str = SUM) -> SecureSum:
        """Return the coordinator's side after all members have prepared."""
        found = self.protocol(members, sum_id)
        for name in members:
            found.add_prepared(name, self.member(name, members, sum_id=sum_id).prepare()[sum_id])
        return found

    def masked(self, members: tuple[str, ...], arrived: tuple[str, ...] = ()) -> SecureSum:
        """Return the coordinator's side after all members have prepared, and all or these have masked."""
        found = self.prepared(members)
        for name in arrived or members:
            found.add_masked(name, self.mask(name, members, found.mask_request(name)))
        return found

    def mask(self, name: str, members: tuple[str, ...], request: bytes) -> bytes:
        return self.member(name, members, request).mask(self.form, self.contribution(name))
