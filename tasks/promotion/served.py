"""The champion from which commands and services answer: the alias in MLflow, if a decision agrees with it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from models.errors import LedgerTampered, NotFound
from models.ledger.chain import Entry
from models.promotion.champions import champions, entries_about
from tasks.local.home import Home
from tasks.promotion import ledger
from tasks.promotion.promote import standing_of
from tasks.tracking import registry

if TYPE_CHECKING:
    from mlflow import MlflowClient


def chosen(home: Home, model_name: str | None, version_or_alias: str) -> tuple[str, str]:
    """Return the name and the version of the model that a command is to answer from.

    Args:
        home: contains the registry and the ledger.
        model_name: required only if several models are registered.
        version_or_alias: see `resolve_decided`.

    Raises:
        NotFound: there is no such model or version, or nothing is registered or promoted yet.
        LedgerTampered: as `resolve_decided`.
    """
    client = registry.open_registry(home)
    name = registry.resolve_model_name(client, model_name)
    return name, str(resolve_decided(home, client, name, version_or_alias))


def resolve_decided(home: Home, client: MlflowClient, model_name: str, version_or_alias: str) -> int:
    """Return the version behind a number or an alias. The aliases that fedrec sets need a decision.

    Raises:
        NotFound: there is no such alias.
        LedgerTampered: the alias was moved without a decision, or the ledger is not valid.
    """
    if version_or_alias not in (registry.CHAMPION, registry.PREVIOUS) or not home.ledger.exists():
        return registry.resolve_version(client, model_name, version_or_alias)
    entries = entries_about(ledger.read_verified(home, client, model_name).entries, model_name)
    if version_or_alias == registry.CHAMPION:
        return decided_champion(client, entries, model_name)
    version = registry.resolve_version(client, model_name, version_or_alias)
    found = standing_of(client, entries, model_name)
    if entries and version != found.before:
        raise _undecided(model_name, registry.PREVIOUS, version, found.before, found.champion)
    return version


def decided_champion(client: MlflowClient, entries: Sequence[Entry], model_name: str) -> int:
    """Return the version of the alias `champion`.

    Without any entry about the model, the alias alone counts: a service on another machine has only the
    registry.

    Args:
        client: the registry.
        entries: the verified entries about the model.
        model_name: the registered model.

    Raises:
        NotFound: there is no champion.
        LedgerTampered: there are decisions, and none made this version champion.
    """
    version = registry.version_of_alias(client, model_name, registry.CHAMPION)
    if version is None:
        raise _no_champion(client, entries, model_name)
    # Between a decision and the move of the alias, both versions are valid.
    if not entries or version in [each.version for each in champions(entries, model_name)[-1:]]:
        return version
    decided = standing_of(client, entries, model_name).champion
    if version != decided:
        raise _undecided(model_name, registry.CHAMPION, version, decided, decided)
    return version


def _no_champion(client: MlflowClient, entries: Sequence[Entry], model_name: str) -> NotFound:
    """Return the error that says why the registry names no champion, and what to do."""
    found = standing_of(client, entries, model_name)
    promote, rollback = (
        f"fedrec {each} --model {shlex.quote(model_name)}" for each in ("promote", "rollback")
    )
    if found.champion is not None:
        what = f"Alias 'champion' of {model_name!r} was removed; the ledger says version {found.champion}"
        step = f"{promote} --version {found.champion} restores it"
    elif found.lost is None:
        what = f"Model {model_name!r} has no champion"
        step = f"Promote a version first with {promote}"
    else:
        what = f"The champion of {model_name!r}, version {found.lost}, was deleted from the registry"
        back = f"{rollback} returns to version {found.before}, " if found.before else ""
        step = f"{back}{promote} makes another version champion"
        if registry.newest_version(client, model_name) is None:
            what += ", and no other version is left"
            step = f"Train the model again, then run {promote}"
    return NotFound(f"{what}.", next_step=f"{step}.", model_name=model_name)


def _undecided(
    model_name: str, alias: str, version: int, decided: int | None, champion: int | None
) -> LedgerTampered:
    """Return the error about an alias that was moved without a decision."""
    step = f"fedrec promote --model {shlex.quote(model_name)} --version {champion or 'N'}"
    restores = "restores what the ledger says" if champion else "decides anew"
    says = f"that is version {decided}" if decided else "there is none"
    role = "champion" if alias == registry.CHAMPION else "the champion before"
    return LedgerTampered(
        f"Alias {alias!r} of {model_name!r} names version {version}, but no decision made it {role}: "
        f"according to the ledger, {says}.",
        next_step=f"It was moved without fedrec. {step} {restores}; fedrec audit --verify checks all.",
        model_name=model_name,
        version=version,
    )
