"""Artifacts of a flow run: pages that Prefect shows with it."""

from __future__ import annotations

import re

from tasks.orchestration.retries import retry_while_away

_FOREIGN = re.compile(r"[^a-z0-9]+")


def put_markdown(key: str, text: str, description: str) -> None:
    """Attach a page in Markdown to the current flow run.

    Args:
        key: artifacts of one key are versions of one page; other characters than a-z, 0-9 become dashes.
        text: the page.
        description: one line.
    """
    from prefect.artifacts import create_markdown_artifact

    name = _FOREIGN.sub("-", key.lower()).strip("-")
    retry_while_away(lambda: create_markdown_artifact(text, key=name, description=description))
