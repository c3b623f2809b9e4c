"""Chooses the one registered model to which a service or a publisher is bound."""

from __future__ import annotations

import contextlib

from models.errors import InvalidInput, NotFound
from tasks.bundles.serving_folder import published_models
from tasks.local.home import Home
from tasks.tracking import registry


def bound_model(home: Home, model_name: str | None, *, published: bool = False) -> str:
    """Return the given name, or the name of the only model that there is.

    A given name need not be registered yet.

    Args:
        home: contains the registry, unless the environment names another.
        model_name: the name that was asked for; None if none was.
        published: whether to look first at what another process has published in this home.

    Raises:
        NotFound: no name is given, and there is no model.
        InvalidInput: no name is given, and there are several models.
    """
    if model_name is not None:
        if not model_name.strip():
            raise InvalidInput("The name of a model is empty.", next_step="Choose one with --model NAME.")
        return model_name
    names = published_models(home) if published else []
    state = "published" if names else "registered"
    with contextlib.suppress(NotFound):  # there is no registry yet
        names = names or registry.registered_models(registry.open_registry(home))
    if not names:
        raise NotFound(
            f"Nothing is registered yet below {home.root}.",
            next_step="Train one first with fedrec train, or name the one to wait for with --model NAME.",
        )
    if len(names) > 1:
        raise InvalidInput(
            f"{len(names)} models are {state}: {', '.join(names)}.",
            next_step=f"Choose one with --model NAME, such as --model {names[0]}.",
            names=names,
        )
    return names[0]
