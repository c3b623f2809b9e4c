"""MLflow's client without its check for prompts, which loads every version of a registered model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mlflow.tracking import MlflowClient


class LightClient(MlflowClient):  # type: ignore[misc]  # MLflow has no types
    """A client whose calls about one version cost the same whatever the number of versions.

    Before it sets or deletes a tag, an alias or a version, MLflow 3.17 asks whether the registered model is a
    prompt. For that it loads all versions: .6 s at 12,000. fedrec names only models that it has registered.
    If a later MLflow has no such check, this class changes nothing.
    """

    def _raise_if_prompt(self, name: str) -> None:
        """Accept the name."""


def all_pages(search: Callable[..., Any], *filters: Any, **arguments: Any) -> Iterator[Any]:
    """Yield the results of all pages of one of MLflow's searches.

    Args:
        search: a method of the client such as `search_runs`, which returns one page.
        filters, arguments: its arguments.
    """
    token = None
    while True:
        page = search(*filters, **arguments, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
