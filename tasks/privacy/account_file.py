"""A privacy account on disk: a chained file to which jobs and people append.

A job reserves before anything leaves a client, and is settled when it is concluded. An entry is on the disk
before a call returns. So a process that is killed at any moment leaves an account that counts what it may
have released.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from models.errors import InvalidConfig, NotFound
from models.ledger import chain
from models.ledger.head import Head, divergence, head_of
from models.privacy.account import (
    Account,
    Reservation,
    account_of,
    reservation_body,
    reset_body,
    settlement_body,
)
from models.privacy.mechanisms import Mechanism
from tasks.local.chained_file import ChainedFile
from tasks.local.home import Home
from tasks.local.plain_name import is_plain_name


def now() -> str:
    """Return the present time in UTC, as entries have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def accounts(home: Home) -> list[str]:
    """Return the names of the home's accounts, sorted."""
    return sorted(path.stem for path in home.privacy.glob("*.jsonl"))


def read_account(home: Home, name: str) -> tuple[Account, Head]:
    """Return an account and the head of its ledger. One without a file has no entries.

    Raises:
        InvalidConfig: the name is not one of a file.
        LedgerTampered: an entry is invalid.
    """
    return _read(_file(home, name), name)


def lost_since(home: Home, name: str, heads: Iterable[tuple[str, Head]]) -> str | None:
    """Return how an account differs from the one that had these heads, or None.

    Args:
        home: contains the account.
        name: of the account.
        heads: when the account had a head, and the head.

    Raises:
        InvalidConfig: the name is not one of a file.
        LedgerTampered: an entry is invalid.
    """
    file = _file(home, name)
    entries = file.read().entries
    chain.verify(entries, ledger=file.ledger)
    for when, head in heads:
        if differs := divergence(entries, head):
            return f"{differs}, when {when}"
    return None


def reserve(home: Home, name: str, asked: Reservation) -> Head:
    """Write down what a job may spend, before anything leaves a client.

    A job that reserved before writes nothing again, unless less than it asks for counts in its period: it was
    settled with less, or the account was reset.

    Returns:
        The head of the ledger, for whoever keeps it elsewhere.

    Raises:
        BudgetExceeded: with this job, the account would spend more than the budget; nothing is written.
        InvalidConfig: the name is not one of a file.
        LedgerTampered: an entry is invalid.
    """

    def body(account: Account, at: str) -> Mapping[str, Any] | None:
        return reservation_body(asked, at) if account.needs(asked, at) else None

    return _append(home, name, body)


def settle(
    home: Home, name: str, job_id: str, released: Sequence[Mechanism], model_sha256: str | None
) -> Head:
    """Write down what a concluded job released, which from then on counts in place of its reservation.

    Settling again with the same changes nothing.

    Args:
        home: contains the account.
        name: of the account.
        job_id: the job.
        released: without the rounds that never released anything.
        model_sha256: digest of the job's last model; None if it released nothing.

    Returns:
        The head of the ledger.

    Raises:
        InvalidInput: the job reserved nothing, or less than it released, or was settled with another model.
        LedgerTampered: an entry is invalid.
    """

    def body(account: Account, at: str) -> Mapping[str, Any] | None:
        if not account.settles(job_id, released, model_sha256):
            return None
        return settlement_body(job_id, released, model_sha256, at)

    return _append(home, name, body)


def reset(home: Home, name: str, *, by: str, reason: str) -> Head:
    """Let an account count from zero again. The entries before stay.

    Args:
        home: contains the account.
        name: of the account.
        by: the person who decides.
        reason: why, such as that the data have other people now.

    Returns:
        The head of the ledger.

    Raises:
        NotFound: there is no such account.
        InvalidInput: nobody or no reason is named.
        LedgerTampered: an entry is invalid.
    """
    if not _file(home, name).path.exists():
        raise missing(home, name)
    return _append(home, name, lambda _, at: reset_body(by, reason, at))


def missing(home: Home, name: str) -> NotFound:
    """Return the error for an account that does not exist."""
    known = accounts(home)
    return NotFound(
        f"There is no privacy account {name!r} in {home.privacy}.",
        next_step=f"There are: {', '.join(known)}." if known else "The first job with privacy begins one.",
        account=name,
    )


def _append(home: Home, name: str, body: Callable[[Account, str], Mapping[str, Any] | None]) -> Head:
    """Append the entry that `body` makes of the account and the time, or none."""
    file = _file(home, name)
    with file.locked():
        account, head = _read(file, name)
        found = body(account, now())
        return head if found is None else head_of(file.append(found))


def _read(file: ChainedFile, name: str) -> tuple[Account, Head]:
    entries = file.read().entries
    chain.verify(entries, ledger=file.ledger)
    return account_of(name, file.ledger, entries), head_of(entries[-1] if entries else None)


def _file(home: Home, name: str) -> ChainedFile:
    if not is_plain_name(name):
        raise InvalidConfig(
            f"A privacy account cannot have the name {name!r}.",
            next_step="Choose lower-case letters, digits and '-' for privacy.account, such as users.",
            key="privacy.account",
        )
    return ChainedFile(
        home.privacy / f"{name}.jsonl",
        ledger=f"privacy account {name!r}",
        writer="job",
        torn_log=f"{name}.torn.log",
    )
