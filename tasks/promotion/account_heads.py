"""The heads of privacy accounts that jobs and decisions keep, and how an account differs from them.

An account that was cut off at its end is a valid one of fewer jobs. So each job keeps the head that its
account had once it was charged, in the record of its opening, and each decision about a version with privacy
the head that the gate saw.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Sequence

from models.errors import CorruptArtifact
from models.ledger.chain import Entry
from models.ledger.head import Head
from tasks.local.home import Home
from tasks.privacy.account_file import lost_since
from tasks.promotion import ledger

Heads = list[tuple[str, Head]]


def kept_heads(home: Home) -> dict[str, Heads]:
    """Return account -> when it had a head, and the head, for each that a job or a decision keeps.

    Raises:
        LedgerTampered: a line of the decisions is no entry.
    """
    found = defaultdict[str, Heads](list)
    for account, when, head in _kept(home, ledger.read(home).entries):
        found[account].append((when, head))
    return dict(sorted(found.items()))


def lost(home: Home, account: str) -> str | None:
    """Return how an account differs from one that a job or a decision of the home knew, or None.

    Args:
        home: contains the account, the jobs and the ledger of decisions.
        account: its name.

    Raises:
        LedgerTampered: an entry of the account does not follow, or a line of the decisions is no entry.
    """
    # The account is read last, because it only grows.
    kept = kept_heads(home).get(account, [])
    return lost_since(home, account, kept)


def _kept(home: Home, decisions: Sequence[Entry]) -> Iterator[tuple[str, str, Head]]:
    """Yield an account, when it had a head, and the head."""
    for path in sorted(home.jobs.glob("*/job.json")):
        # What reads records takes long to import, and most jobs keep no head.
        if b'"account_head"' not in path.read_bytes():
            continue
        from tasks.jobs.journal import Journal

        with contextlib.suppress(CorruptArtifact):
            opening = Journal(path.parent).opening
            if opening.privacy and opening.account_head:
                yield opening.privacy.account, f"job {path.parent.name} was charged", opening.account_head
    for entry in decisions:
        evidence = entry.body.get("evidence", {})
        # What was refused may have been judged by an account that was cut.
        if entry.body.get("accepted") and "account_head" in evidence:
            when = f"entry {entry.seq} of the ledger of decisions was written"
            yield evidence["privacy"]["account"], when, Head.of_json(evidence["account_head"])
