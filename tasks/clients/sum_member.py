"""A client's side of a job's secure sums: its keys, and on its own disk what it has answered.

A client writes an answer down before it sends it, and never answers two requests about one sum differently.
So whatever a coordinator asks, and whatever crashes, its summand stays hidden (`models.secure_sum`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from filelock import FileLock

from models.errors import CorruptArtifact, EgressRefused
from models.federation.contribution import Contribution
from models.federation.vector_form import VectorForm
from models.secure_sum import member as moments
from models.secure_sum.cohort import Cohort, announce, read_cohort
from models.secure_sum.primitives.keys import MemberKeys
from models.secure_sum.record import MemberRecord
from models.secure_sum.session import Session
from tasks.local.atomic import append, sync_file, write_atomically
from tasks.messages.orders import ClientOrder
from tasks.messages.sum_orders import SumOrder

_OWNER_ONLY = 0o700
# Endings of a sum's file: of the newest record, which is its last line, and of the empty file of a sum whose
# seeds are erased.
_RECORD, _OVER = ".record", ".over"


@dataclass(frozen=True)
class SumRules:
    """What a silo's owner decides about secure sums.

    Attributes:
        identity: the silo's key, which signs what it says in a sum; `repr` does not show it.
        roster: name -> public key of all that may be members, which the owner has from their owners.
        min_cohort: the silo takes part in no sum of fewer members.
        publish: what the silo tells of itself beside its sums: "benefit", its comparison at the end of a job.
    """

    identity: Ed25519PrivateKey = field(repr=False)
    roster: Mapping[str, Ed25519PublicKey]
    min_cohort: int
    publish: tuple[str, ...] = ()


class SumMember:
    """A client as a member of the sums of one job.

    Args:
        order: names the client, its folder and the job.
        rules: of a silo's owner; None for a simulated client, which believes the coordinator.
    """

    def __init__(self, order: ClientOrder, rules: SumRules | None = None) -> None:
        self._job_id, self._rules, self._sum = order.job.job_id, rules, order.sum or SumOrder()
        # Fewer summands would have too little noise.
        self._fewest = order.job.noise.summands if order.job.noise else 0
        self._folder = order.silo / "sums" / self._job_id
        self._keys_file = self._folder / "keys.json"
        # A simulated client loses its records with the coordinator, so it need not outlive a power cut.
        self._durable = rules is not None
        if not self._keys_file.exists():
            self._folder.mkdir(parents=True, exist_ok=True, mode=_OWNER_ONLY)
        with self._alone():
            self._forget(order.round)
            self._member = self._opened(order.client_id)

    def announce(self) -> bytes:
        """Return the message with the client's key for the job."""
        return announce(self._member, self._job_id)

    def prepare(self) -> dict[str, bytes]:
        """Return id -> the message that prepares the sum, for each sum of the order."""
        with self._alone():
            return {name: self._prepared(self._session(name)) for name in self._sum.sums}

    def mask(self, form: VectorForm, contribution: Contribution[Any]) -> bytes:
        """Return the message with the masked summand.

        Raises:
            ProtocolBreach: the request is faulty.
            InvalidInput: the contribution does not fit the form.
        """
        session, blocks = self._only_session(), form.blocks(contribution)

        def masked(record: MemberRecord) -> tuple[MemberRecord, bytes]:
            return moments.mask(
                self._member, session, record, self._sum.request, form.layout, blocks, self._fewest
            )

        return self._answered(session, masked)

    def agree(self) -> bytes:
        """Return the vote for the members whose masked summands are in the sum.

        Raises:
            ProtocolBreach: the request is faulty, or the client voted otherwise before.
        """
        session = self._only_session()

        def agreed(record: MemberRecord) -> tuple[MemberRecord, bytes]:
            return moments.agree(self._member, session, record, self._sum.request)

        return self._answered(session, agreed)

    def reveal(self) -> bytes:
        """Return the message that opens the sum that the client voted for.

        Raises:
            ProtocolBreach: the request is faulty.
        """
        session = self._only_session()
        return moments.reveal(self._member, session, self._record(session), self._sum.request)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let other orders about the job's sums wait. Otherwise two votes at once would each be the first."""
        if not self._durable:
            yield
            return
        with FileLock(self._folder / ".lock"):
            yield

    def _only_session(self) -> Session:
        name, _ = self._sum.one
        return self._session(name)

    def _session(self, name: str) -> Session:
        members = self._sum.sums[name]
        least = self._rules.min_cohort if self._rules else 0
        if self._member.name not in members:
            raise EgressRefused(
                f"The sum {name!r} of job {self._job_id} is without client {self._member.name!r}, which "
                "takes part in its own sums only.",
                next_step="Ask the coordinator's operator why: an honest coordinator never does this.",
                silo=self._member.name,
            )
        if len(members) < least:
            raise EgressRefused(
                f"The sum {name!r} of job {self._job_id} has {len(members)} members with client "
                f"{self._member.name!r}, which takes part in sums of at least {least}.",
                next_step="policy.min_cohort sets the least number of members, with the silo itself. Wait "
                "for more silos, or lower policy.min_cohort.",
                silo=self._member.name,
            )
        announcements = tuple((each, self._sum.announcements[each]) for each in members)
        return Session(_cohort(self._job_id, self._keys_of(members), announcements), name)

    def _keys_of(self, members: tuple[str, ...]) -> tuple[tuple[str, bytes], ...]:
        if self._rules is None:
            return tuple((each, self._sum.identities[each]) for each in members)
        roster = self._rules.roster
        if unknown := [each for each in members if each not in roster]:
            raise EgressRefused(
                f"The coordinator wants client {self._member.name!r} in a sum of job {self._job_id} with "
                f"{', '.join(map(repr, unknown))}, from nobody in the roster.",
                next_step="If you want that, get public.pem from its owner: fedrec silo roster NAME FILE.",
                silo=self._member.name,
            )
        return tuple((each, roster[each].public_bytes_raw()) for each in members)

    def _prepared(self, session: Session) -> bytes:
        path = self._path(session, _RECORD)
        if path.exists() or self._is_over(session):
            record = self._record(session)
            record.require(session)
        else:
            record, _ = moments.prepare(self._member, session)
            write_atomically(path, record.to_bytes(), durable=self._durable)
        return record.message

    def _answered(
        self, session: Session, answer: Callable[[MemberRecord], tuple[MemberRecord, bytes]]
    ) -> bytes:
        """Write down what the client answers, and return the message."""
        with self._alone():
            before = self._record(session)
            record, message = answer(before)
            if record != before:
                self._write(session, record)
        return message

    def _write(self, session: Session, record: MemberRecord) -> None:
        if self._durable:
            write_atomically(self._path(session, _RECORD), record.to_bytes())
        else:
            append(self._path(session, _RECORD), b"\n" + record.to_bytes())

    def _forget(self, round_: int) -> None:
        """Erase the seeds of earlier rounds' sums, except the last one's. That they are over stays known."""
        with os.scandir(self._folder) as files:
            names = [each.name for each in files if each.name.endswith(_RECORD)]
        for name in names:
            path = self._folder / name
            if int(path.stem.rpartition("-")[2]) < round_ - 1:
                with suppress(FileNotFoundError):
                    # An empty record is refused, so a crash in between changes no answer.
                    os.truncate(path, 0)
                    if self._durable:
                        sync_file(path)
                    path.rename(path.with_suffix(_OVER))

    def _record(self, session: Session) -> MemberRecord:
        try:
            data = self._path(session, _RECORD).read_bytes()
        except FileNotFoundError as error:
            if self._is_over(session):
                raise EgressRefused(
                    f"Sum {session.id!r} of job {self._job_id} is over for client {self._member.name!r}.",
                    next_step="Start a new job: a client takes part in a sum once.",
                    silo=self._member.name,
                ) from error
            raise CorruptArtifact(
                f"Client {self._member.name!r} has not prepared sum {session.id!r} of job {self._job_id}.",
                next_step="It takes part again from the next sums that are prepared.",
            ) from error
        return MemberRecord.from_bytes(data.rpartition(b"\n")[2])

    def _is_over(self, session: Session) -> bool:
        return self._path(session, _OVER).exists()

    def _path(self, session: Session, ending: str) -> Path:
        # By the sum alone: over another cohort it would be a second sum of the same summand, and their
        # difference may be a member's own. `MemberRecord.require` refuses that.
        return self._folder / f"{session.id}{ending}"

    def _opened(self, name: str) -> MemberKeys:
        """Return the client's keys for the job, which it makes for its first order."""
        path = self._keys_file
        if not path.exists():
            _create_keys(path, is_simulated=self._rules is None)
        written = path.stat()
        return _keys(path, written.st_ino, written.st_mtime_ns, name, self._rules and self._rules.identity)

    @property
    def name(self) -> str:
        """Return the client's name."""
        return self._member.name

    @property
    def sums(self) -> frozenset[str]:
        """Return the ids of the sums of the order."""
        return frozenset(self._sum.sums)

    @property
    def identity(self) -> bytes:
        """Return the client's public key (32 bytes)."""
        return self._member.identity.public_key().public_bytes_raw()


def _create_keys(path: Path, *, is_simulated: bool) -> None:
    """Write new keys with the number of their file, by which `_keys` notices a copy."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        keys: dict[str, object] = {"encryption": X25519PrivateKey.generate().private_bytes_raw().hex()}
        if is_simulated:
            keys["identity"] = Ed25519PrivateKey.generate().private_bytes_raw().hex()
        json.dump(keys | {"file": os.fstat(descriptor).st_ino}, file)
        file.flush()
        os.fsync(descriptor)
    temporary.replace(path)


# The secrets that a member has in common with each other one are kept with its keys.
@lru_cache(maxsize=4096)
def _keys(
    path: Path, number: int, written_at: int, name: str, identity: Ed25519PrivateKey | None
) -> MemberKeys:
    """Return the keys of a file.

    Args:
        path: the file.
        number: of the file.
        written_at: when it was last written; another time is another file.
        name: the client's.
        identity: the silo's key; None for a simulated client, whose key is in the file.

    Raises:
        CorruptArtifact: the file is damaged, or is a copy. A restored client does not know what it answered.
    """
    try:
        found = json.loads(path.read_text())
        is_original = found["file"] == number
        encryption = X25519PrivateKey.from_private_bytes(bytes.fromhex(found["encryption"]))
        own = identity or Ed25519PrivateKey.from_private_bytes(bytes.fromhex(found["identity"]))
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptArtifact(
            f"The keys for secure sums are damaged: {path}.",
            next_step="It takes part in the next job. Remove the folder only if the job is over.",
        ) from error
    if not is_original:
        raise CorruptArtifact(
            f"{path} was restored or copied, so this client may not know what it has answered in the job.",
            next_step="It takes part in the next job. Remove the folder only if the job is over.",
        )
    return MemberKeys(name, own, encryption)


# All clients of one process have one cohort, and each would verify the signatures of all others again.
@lru_cache(maxsize=64)
def _cohort(
    job_id: str, keys: tuple[tuple[str, bytes], ...], announcements: tuple[tuple[str, bytes], ...]
) -> Cohort:
    roster = {name: Ed25519PublicKey.from_public_bytes(key) for name, key in keys}
    return read_cohort(job_id, roster, dict(announcements))
