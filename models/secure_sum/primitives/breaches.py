"""The error for a message that breaks the protocol."""

from __future__ import annotations

from models.errors import ProtocolBreach

COORDINATOR = "the coordinator"
_NEXT_STEPS = {
    "signature": "Ask who can change messages on their way, and whether the member has made a new key pair.",
    "session": "Late and repeated messages can be ignored; otherwise ask who sent it.",
    "survivors": "Ask the coordinator's operator why: an honest coordinator never does this.",
    "prepared": "Ask the coordinator's operator why: an honest coordinator never does this.",
    "votes": "Ask the coordinator's operator why: an honest coordinator never does this.",
}


def breach(sender: str, kind: str, part: str, fault: str) -> ProtocolBreach:
    """Return the error that explains why a message is refused.

    Args:
        sender: the member that the message speaks for, or `COORDINATOR`.
        kind: of the message, such as "prepared".
        part: the faulty part, such as "signature".
        fault: a predicate that follows "The message ... of ...".
    """
    return ProtocolBreach(
        f"The message {kind!r} of {sender} {fault}.",
        next_step=_NEXT_STEPS.get(
            part, "Run the same version of fedrec everywhere, and let the sender try again."
        ),
        sender=sender,
        kind=kind,
        part=part,
    )
