"""`fedrec audit`: shows who promoted which version, when, why and on which evidence; verifies the ledger."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows.commands.promotion.audit_privacy import (
    NOTHING,
    epsilon_of_decision,
    privacy_of,
    promise_of_decision,
    show_accounts,
    show_privacy,
    verified_accounts,
)
from flows.commands.promotion.promote import model_option
from flows.terminal.output import emit, json_option
from models.errors import InvalidInput, LedgerTampered, NotFound
from models.ledger.chain import Entry
from models.promotion.champions import Champion, champions, entries_about, pending, standing
from models.promotion.exposure_gate import was_approved

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from tasks.local.home import Home


@click.command("audit")
@click.argument("version", required=False, type=click.IntRange(min=1))
@model_option
@click.option(
    "--verify", is_flag=True, help="Check the whole ledger and the aliases; exit code 6 on a fault."
)
@click.option(
    "--ledger",
    "copy",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Read this copy of a decision ledger instead, without the registry.",
)
@json_option
def command(
    version: int | None, model_name: str | None, verify: bool, copy: Path | None, as_json: bool
) -> None:
    """Show the decisions about VERSION or about all versions. With --verify, check that the ledger is intact.

    The history includes refused promotions, and of versions with differential privacy what their accounts
    spent when. A copy of the ledger is always checked. A copy alone does not
    show that its end was cut off, so compare its head with that of `fedrec audit --verify`.
    """
    if verify and version is not None:
        raise InvalidInput("--verify checks the whole ledger; leave VERSION out.")
    if copy is not None:
        _read_copy(copy, version, model_name, verify, as_json)
    elif verify:
        _verify(model_name, as_json)
    else:
        _show_history(version, model_name, as_json)


def _show_history(version: int | None, model_name: str | None, as_json: bool) -> None:
    from tasks.local import environment
    from tasks.promotion import ledger
    from tasks.promotion.versions import existence
    from tasks.tracking import registry

    home = environment.apply()
    client = registry.open_registry(home)
    name = _named(client, ledger.read(home).entries, model_name)
    entries = ledger.read_verified(home, client, name).entries
    _emit_history(entries, name, existence(client, name), version, as_json, home)


def _named(client: MlflowClient, entries: Sequence[Entry], model_name: str | None) -> str:
    """Return the model to show. The ledger keeps the decisions about a model that was deleted in MLflow."""
    from tasks.tracking import registry

    try:
        return registry.resolve_model_name(client, model_name)
    except NotFound as error:
        decided = sorted({entry.body["model_name"] for entry in entries})
        if model_name in decided:
            return str(model_name)
        if model_name is None and len(decided) == 1:
            return str(decided[0])
        if not decided:
            raise
        raise NotFound(
            f"{error.what} The ledger has decisions about: {', '.join(decided)}.",
            next_step="Choose one with --model NAME.",
            **error.facts,
        ) from None


def _read_copy(copy: Path, version: int | None, model_name: str | None, verify: bool, as_json: bool) -> None:
    """Show the decisions in a copy of a ledger, or only check it."""
    from tasks.promotion import ledger

    found = ledger.read_copy(copy)
    if verify:
        result = {
            "intact": True,
            "entries": len(found.entries),
            "head": found.entries[-1].hash if found.entries else None,
            "torn_bytes": len(found.torn),
        }
        emit(result, as_json=as_json, show=lambda: _show_verified(result))
        return
    names = sorted({entry.body["model_name"] for entry in found.entries})
    if not names:
        raise InvalidInput(
            f"{copy} has no decision: it has no complete line.",
            next_step="Copy the whole file ledger/decisions.jsonl of a home in which something was promoted.",
        )
    if model_name is None and len(names) > 1:
        raise InvalidInput(
            f"{copy} has decisions about {len(names)} models: {', '.join(names)}.",
            next_step="Choose one with --model, or check the whole copy with --verify.",
        )
    if model_name not in (None, *names):
        raise NotFound(
            f"{copy} has no decision about {model_name!r}; it has decisions about: {', '.join(names)}.",
            model_name=model_name,
        )
    # Without the registry, nothing shows which champions still exist.
    _emit_history(found.entries, model_name or names[0], lambda _: True, version, as_json)


def _emit_history(
    entries: Sequence[Entry],
    name: str,
    exists: Callable[[Champion], bool],
    version: int | None,
    as_json: bool,
    home: Home | None = None,
) -> None:
    """Print the decisions about a model. The home contains the privacy accounts; None for a copy alone."""
    entries = entries_about(entries, name)
    chosen = [decision for decision in _decisions(entries) if version in (None, decision["version"])]
    if version is not None and not chosen:
        raise NotFound(
            f"No decision was ever made about version {version} of {name!r}.",
            next_step=f"Check it by the gates with {_promote(name)} --version {version}.",
            model_name=name,
            version=version,
        )
    applied = standing(champions(entries, name), exists)
    result = {
        "model_name": name,
        "champion": applied.champion,
        "gone": list(applied.gone),
        "decisions": chosen,
        "privacy": privacy_of(home, chosen) if home else NOTHING,
    }
    emit(result, as_json=as_json, show=lambda: _show(result, detailed=version is not None))


def _decisions(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return the decisions, oldest first, each with the time at which it was applied."""
    applied = {e.body["decision"]: e.body["applied_at"] for e in entries if e.body["type"] == "applied"}
    abandoned = {e.body["decision"]: e.body["abandoned_at"] for e in entries if e.body["type"] == "abandoned"}
    return [
        {
            "version": entry.body["candidate"],
            "kind": entry.body["kind"],
            "accepted": entry.body["accepted"],
            "previous": entry.body["incumbent"],
            "actor": entry.body["actor"],
            "reason": entry.body["reason"],
            "decided_at": entry.body["decided_at"],
            "applied_at": applied.get(entry.hash),
            "abandoned_at": abandoned.get(entry.hash),
            "gone": list(entry.body.get("gone", ())),
            "verdicts": entry.body["verdicts"],
            "evidence": entry.body["evidence"],
            "policy": entry.body["policy"],
            "decision_id": entry.hash,
            "entry": entry.seq,
        }
        for entry in entries
        if entry.body["type"] == "decision"
    ]


def _show(result: Mapping[str, Any], detailed: bool) -> None:
    name, champion = result["model_name"], result["champion"]
    if not result["decisions"]:
        click.echo(f"No decision about {name} yet; make one with {_promote(name)}.")
        return
    if detailed:
        for decision in result["decisions"]:
            _show_decision(decision)
    else:
        _show_table(result["decisions"])
    gone = (
        f"; no longer in the registry: version {', '.join(map(str, result['gone']))}"
        if result["gone"]
        else ""
    )
    show_privacy(result["privacy"])
    click.echo(f"Champion of {name}: {f'version {champion}' if champion else 'none'}{gone}.")


def _promote(name: str) -> str:
    """Return the command that decides about a model, as one can type it."""
    return f"fedrec promote --model {shlex.quote(name)}"


def _show_table(decisions: Sequence[Mapping[str, Any]]) -> None:
    from flows.terminal.table import Column, print_table

    is_private = any("privacy" in decision["evidence"] for decision in decisions)
    print_table(
        (
            Column("decided (UTC)"),
            Column("kind"),
            Column("version", is_number=True),
            Column("before", is_number=True),
            *((Column("epsilon", is_number=True),) if is_private else ()),
            Column("outcome", wraps=True),
            Column("actor"),
            Column("reason", wraps=True),
        ),
        [
            (
                decision["decided_at"][:16].replace("T", " "),
                decision["kind"],
                str(decision["version"]),
                str(decision["previous"] or "-"),
                *((epsilon_of_decision(decision),) if is_private else ()),
                _outcome(decision),
                decision["actor"],
                decision["reason"],
            )
            for decision in decisions
        ],
    )


def _outcome(decision: Mapping[str, Any]) -> str:
    if not decision["accepted"]:
        failed = [verdict["gate"] for verdict in decision["verdicts"] if not verdict["passed"]]
        return f"refused: {', '.join(failed)}"
    if decision["abandoned_at"]:
        return "abandoned: the version was gone"
    by = decision["actor"]
    overridden = [each["gate"] for each in decision["verdicts"] if was_approved(each["observed"], by)]
    alarm = f"; the {overridden[0]} alarm was overridden by {by}" if overridden else ""
    return ("applied" if decision["applied_at"] else "interrupted") + alarm


def _show_decision(decision: Mapping[str, Any]) -> None:
    evidence = decision["evidence"]
    lines = {
        "what": f"{decision['kind']} of version {decision['version']}: {_outcome(decision)}",
        "who": decision["actor"],
        "when": f"{decision['decided_at']} (applied {decision['applied_at'] or 'never'})",
        "why": decision["reason"] or "no reason given",
        "instead of": f"version {decision['previous']}" if decision["previous"] else "no champion",
        "model": f"job {evidence['job_id']}, round {evidence['round']}, SHA-256 {evidence['sha256']}",
        "data": f"{evidence['data_digest']}, catalogue {evidence['catalog_digest']}",
        **({"privacy": promise} if (promise := promise_of_decision(decision)) else {}),
        "entry": f"{decision['entry']} of the ledger, {decision['decision_id']}",
    }
    for word, text in lines.items():
        click.echo(f"{word:<11}{text}")
    for verdict in decision["verdicts"]:
        click.echo(f"  {'pass' if verdict['passed'] else 'FAIL'}  {verdict['gate']}: {verdict['observed']}")
        click.echo(f"        required: {verdict['required']}")
    click.echo()


def _verify(model_name: str | None, as_json: bool) -> None:
    from tasks.local import environment
    from tasks.promotion import ledger
    from tasks.tracking import registry

    home = environment.apply()
    client = registry.open_registry(home)
    with ledger.locked(home):
        found = ledger.read_verified(home, client)
        decided = {entry.body["model_name"] for entry in found.entries}
        models = sorted({*registry.registered_models(client), *decided})
        if model_name is not None:
            models = [_named(client, found.entries, model_name)]
        interrupted = _interrupted_or_raise(client, found.entries, models)
        gone = _gone(client, found.entries)
        accounts = verified_accounts(home)
    result = {
        "intact": True,
        "entries": len(found.entries),
        "head": found.entries[-1].hash if found.entries else None,
        "models": models,
        "interrupted": interrupted,
        "gone": gone,
        "torn_bytes": len(found.torn),
        "privacy_accounts": accounts,
    }
    emit(result, as_json=as_json, show=lambda: _show_verified(result))


def _interrupted_or_raise(client: MlflowClient, entries: Sequence[Entry], models: Sequence[str]) -> list[str]:
    """Return the interrupted decisions as text.

    Raises:
        LedgerTampered: aliases, or tags of champions, differ from the ledger in another way.
    """
    from tasks.promotion.promote import alias_faults, standing_of
    from tasks.promotion.versions import changed_tags

    interrupted: list[str] = []
    faults: list[str] = []
    for name in models:
        decision = pending(entries, name)
        if decision:
            interrupted.append(f"{decision.body['kind']} of version {decision.body['candidate']} of {name}")
            continue
        found = standing_of(client, entries, name)
        # MLflow removes the aliases of a version that it deletes.
        differing = alias_faults(client, name, found, may_be_missing=bool(found.gone))
        faults += [f"{name}: {fault}" for fault in differing.values()]
        faults += [f"{name}: {each}" for each in changed_tags(client, entries, name, found)]
    if faults:
        raise LedgerTampered(
            f"The ledger is intact, but the registry was changed without a decision: {'; '.join(faults)}.",
            next_step="Find out who could write to the registry. fedrec promote --model NAME with the "
            "--version of its champion restores what the ledger says.",
            faults=faults,
        )
    return interrupted


def _gone(client: MlflowClient, entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return the models whose champions are not all in the registry any more, each with the next step."""
    from tasks.promotion.promote import standing_of
    from tasks.tracking import registry

    registered = set(registry.registered_models(client))
    found = []
    for name in sorted({entry.body["model_name"] for entry in entries}):
        now = standing_of(client, entries, name)
        if not now.gone:
            continue
        promote = f"fedrec promote --model {name} --version N"
        if name not in registered:
            step = f"It is no longer registered. Train it again, then run {promote}"
        elif now.champion is not None:
            step = "The next fedrec promote or rollback writes that down"
        elif now.before is not None:
            step = f"Run fedrec rollback --model {name} to return to version {now.before}, or {promote}"
        else:
            step = f"No earlier champion is left. Run {promote}"
        found.append({"model_name": name, "versions": list(now.gone), "was": now.lost, "next_step": step})
    return found


def _what_was_verified(models: Sequence[str] | None) -> str:
    """Return what the check proves and what it does not, for a copy if `models` is None."""
    chain = "Verified: no line was edited, removed or inserted, because each has the hash of the one before"
    if models is None:
        return (
            f"{chain}. Not verified: that the copy is whole. If its end was cut off, its head is not the one "
            "that fedrec audit --verify shows."
        )
    return (
        f"{chain}; the last line about each model is the one that MLflow knows; and champion and previous "
        f"of {', '.join(models)} are in MLflow the versions that were decided. Not proved: that the named "
        "people decided, and that nobody who can write to both the ledger and MLflow rewrote both. A head "
        "that you keep elsewhere shows the latter."
    )


def _show_verified(result: Mapping[str, Any]) -> None:
    show_accounts(result.get("privacy_accounts", ()))
    if not result["entries"]:
        click.echo("The ledger is empty: there is no decision yet.")
        return
    click.echo(f"The ledger is intact: {result['entries']} entries, head {result['head']}.")
    click.echo(_what_was_verified(result.get("models")))
    for what in result.get("interrupted", ()):
        click.echo(f"Interrupted: the {what}. The next fedrec promote or rollback completes it.")
    for each in result.get("gone", ()):
        versions = ", ".join(map(str, each["versions"]))
        was = f", of which {each['was']} was the champion" if each["was"] else ""
        click.echo(
            f"Gone from the registry: version {versions} of {each['model_name']}{was}. {each['next_step']}."
        )
    if result["torn_bytes"]:
        click.echo(
            f"The last line is incomplete ({result['torn_bytes']} bytes): its writing was interrupted. "
            "The next command moves it to another file. No decision is lost: a command continues only after "
            "its line is on the disk."
        )
