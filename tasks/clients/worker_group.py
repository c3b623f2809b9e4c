"""What a process of a cluster does: it serves a group of clients, and returns their answers as data."""

from __future__ import annotations

import os
import platform
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from models.errors import FedrecError, InvalidConfig, SiloFailed
from tasks.clients.client_data import base_of
from tasks.clients.client_rows import opened_partition
from tasks.clients.shared_work import Unanswered, answers_here
from tasks.clients.work_signs import WorkSigns
from tasks.messages.answers import ClientEvaluation, Delivery, SumAnswer
from tasks.messages.orders import ClientOrder

# They decide a model's bytes.
_PACKAGES = ("fedrec", "lightfm-next", "numpy", "scipy")
_THREADS = "OMP_NUM_THREADS"
_PLAIN = (str, bytes, int, float, type(None))


@dataclass(frozen=True)
class SharedPlaces:
    """What the processes of a cluster have in common with the coordinator.

    Attributes:
        mark: a file that the coordinator wrote into the parent of the clients' private folders.
        token: its text.
        versions: what else decides a model's bytes, see `versions_here`.
    """

    mark: Path
    token: str
    versions: tuple[tuple[str, str], ...]

    @classmethod
    def marked(cls, silos_dir: Path, token: str) -> SharedPlaces:
        """Write the mark, and return the coordinator's places."""
        silos_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        mark = silos_dir / f".cluster-{token}"
        mark.write_text(token)
        return cls(mark, token, versions_here())


class ClusterGroup:
    """Clients that one task of a cluster serves. Prefect does not look into it, as it does into lists.

    Args:
        orders: the group's orders, sorted by client.
        do: returns a client's answer to its order.
        deadline_s: seconds to serve them, from the start of the task.
        places: what the process must share with the coordinator.
    """

    def __init__(
        self,
        orders: Sequence[ClientOrder],
        do: Callable[[ClientOrder], Any],
        deadline_s: float,
        places: SharedPlaces,
    ) -> None:
        self._orders, self._do, self._deadline_s, self._places = orders, do, deadline_s, places

    def __str__(self) -> str:
        first, last = self._orders[0], self._orders[-1]
        return f"round-{first.round}-{first.client_id}-to-{last.client_id}-{len(self._orders)}-clients"

    def serve(self) -> GroupAnswers:
        """Serve the clients one after another; a client that hangs does not hold up the others.

        Raises:
            InvalidConfig: this process does not share the coordinator's folders or packages.
        """
        require_shared(self._places, self._orders[0])
        found = answers_here(self._orders, self._do, self._deadline_s, 1)
        WorkSigns(self._places.mark).give_while(
            {client_id: each for client_id, each in found.items() if isinstance(each, Unanswered)}
        )
        return GroupAnswers(
            {client_id: _portable(each) for client_id, each in found.items()}, time.perf_counter()
        )


@dataclass(frozen=True)
class Missed:
    """A client that has not answered by the deadline.

    Attributes:
        has_begun: whether the client has begun.
    """

    has_begun: bool

    def __str__(self) -> str:
        return "no answer" if self.has_begun else "not begun"


class GroupAnswers:
    """The answers of a group. Prefect does not look into it.

    Args:
        answers: client id -> its answer, the error that it failed with, or a `Missed`.
        clock: `time.perf_counter` of the process that served them, when it returned.
    """

    def __init__(self, answers: dict[str, Any], clock: float) -> None:
        self.answers, self._clock = answers, clock

    def received(self, now: float) -> dict[str, Any]:
        """Return the answers, with their times on this process's clock.

        Args:
            now: `time.perf_counter` of this process, at the receipt.
        """
        shift = now - self._clock
        return {
            client_id: replace(each, started=each.started + shift, ended=each.ended + shift)
            if isinstance(each, Delivery | ClientEvaluation | SumAnswer)
            else each
            for client_id, each in self.answers.items()
        }


def versions_here() -> tuple[tuple[str, str], ...]:
    """Return what decides a model's bytes: versions of Python and packages, and the number of threads."""
    return (
        ("Python", ".".join(platform.python_version_tuple()[:2])),
        *((name, version(name)) for name in _PACKAGES),
        (_THREADS, os.environ.get(_THREADS, "not set")),
    )


# Tokens of the places that this process has seen.
_seen: set[str] = set()


def require_shared(places: SharedPlaces, order: ClientOrder) -> None:
    """Raise `InvalidConfig` unless this process shares data, folders and packages with the coordinator.

    It looks once.
    """
    if places.token in _seen:
        return
    job, here = order.job, f"The process {os.getpid()} on {socket.gethostname()}"
    for (name, wanted), (_, found) in zip(places.versions, versions_here(), strict=True):
        if wanted != found:
            raise _differs(
                f"{here} has {name} {found}, but the coordinator has {wanted}, so its models could differ.",
                "Give all processes of the cluster the coordinator's Python, the packages of "
                f"requirements.lock, and {_THREADS}=1.",
            )
    try:
        opened_partition(job.data_dir, job.data_digest)
    except (FedrecError, OSError) as error:
        raise _differs(
            f"{here} does not see the job's data in {job.data_dir}: {error}",
            "Mount that folder at the same path for all processes of the cluster.",
        ) from error
    try:
        base_of(order)
    except (FedrecError, OSError, ImportError, ValueError) as error:
        raise _differs(
            f"{here} does not see the job's models in the exchange {job.exchange_url}: {error}",
            "Set runner.exchange to a URL that all processes of the cluster reach, such as s3://bucket/fedrec.",
        ) from error
    if _text(places.mark) != places.token:
        raise _differs(
            f"{here} does not share the folder {places.mark.parent} with the coordinator, in which clients "
            "keep their users' embeddings.",
            "Mount the coordinator's FEDREC_HOME at the same path for all processes of the cluster.",
        )
    _seen.add(places.token)


def _differs(what: str, next_step: str) -> InvalidConfig:
    return InvalidConfig(what, next_step=next_step, key="runner.address")


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def _portable(answer: Any) -> Any:
    """Return what a process can send of a client's answer: of an error the text, and its type if known."""
    if isinstance(answer, Unanswered):
        return Missed(answer.has_begun)
    if not isinstance(answer, Exception):
        return answer
    if isinstance(answer, FedrecError):
        return type(answer)(answer.what, next_step=answer.next_step)
    if type(answer).__module__ == "builtins" and all(isinstance(each, _PLAIN) for each in answer.args):
        return answer
    return SiloFailed(f"{type(answer).__name__}: {answer}")
