"""The command that a user gave, with what an error advises."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from models.errors import InvalidInput


@contextmanager
def offered(*options: str) -> Iterator[None]:
    """Add to an error that advises an option, or to convert a file, the command with it.

    Args:
        options: names of the command's options that errors may advise.
    """
    try:
        yield
    except InvalidInput as error:
        command = _command(error, options)
        if command is None:
            raise
        step = f"{error.next_step} To go on: {command}".strip()
        raise InvalidInput(error.what, next_step=step, **error.facts) from error


def _command(error: InvalidInput, options: tuple[str, ...]) -> str | None:
    given = sys.argv[1:]
    if converted := error.facts.get("converted"):
        file = str(error.facts["file"])
        return shlex.join(["fedrec", *(converted if each == file else each for each in given)])
    option = error.facts.get("option")
    # An option that did not help is not advised again.
    if not option or option[0] not in options or set(option) <= set(given):
        return None
    return shlex.join(["fedrec", *given, *option])
