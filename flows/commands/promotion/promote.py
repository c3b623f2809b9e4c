"""`fedrec promote`: checks a version by the gates and, if all pass, makes it the champion."""

from __future__ import annotations

import getpass
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from flows.terminal.output import emit, json_option
from models.errors import InvalidInput, PromotionRefused

if TYPE_CHECKING:
    from tasks.local.home import Home

model_option = click.option(
    "--model", "model_name", metavar="NAME", help="Registered model; needed only if there are several."
)
model_version_option = click.option(
    "--version",
    default="champion",
    show_default=True,
    metavar="N|ALIAS",
    help="Version number, champion or previous.",
)
reason_option = click.option(
    "--reason", default="", metavar="TEXT", help="The reason; recorded in the ledger."
)
actor_option = click.option(
    "--actor",
    default=None,
    metavar="NAME",
    help="The person who decides; recorded in the ledger. Default: the OS user.",
)


@click.command("promote")
@model_option
@click.option(
    "--version",
    type=click.IntRange(min=1),
    help="Candidate. Default: the best round, by validation, of the newest evaluated job.",
)
@reason_option
@actor_option
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.02,
    show_default=True,
    help="Share of the champion's validation metric by which the candidate may be worse: its NDCG@10 may be "
    "lower, or its RMSE higher.",
)
@click.option(
    "--max-client-drop",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.2,
    show_default=True,
    help="Share of its value under the champion that a single client may lose, beyond random variation.",
)
@click.option(
    "--exposure",
    multiple=True,
    metavar="KEY=NUMBER",
    help="Limit of the exposure gate. An item may jump by factor=2 times the largest jump between earlier "
    "champions, but by least=0.2 in any case and by most=0.5 at most, as shares of up to lists=2000 lists. "
    "Repeatable.",
)
@click.option(
    "--max-epsilon",
    type=click.FloatRange(0, min_open=True),
    metavar="EPSILON",
    help="Largest epsilon of differential privacy. Versions without differential privacy are then refused, "
    "and the champion itself is judged, too.",
)
@click.option(
    "--approve-exposure",
    is_flag=True,
    help="You have looked at the items that the exposure gate named for this --version, and approve them; "
    "recorded in the ledger with the --reason, which is required then.",
)
@json_option
def command(
    model_name: str | None,
    version: int | None,
    reason: str,
    actor: str | None,
    tolerance: float,
    max_client_drop: float,
    exposure: tuple[str, ...],
    max_epsilon: float | None,
    approve_exposure: bool,
    as_json: bool,
) -> None:
    """Check a version by the gates and make it the champion.

    Gates: the round passed its contracts; the artefact loads and scores; the quality is within a tolerance of
    the champion's; no client loses too much; no item is in many more lists than before, unless you approve
    it; the privacy account was charged for what the version promises, and is within its budget. A refusal is
    recorded in the ledger too, and ends with exit code 4. It is a flow run of Prefect's server if there is
    one (fedrec up, PREFECT_API_URL).
    """
    from flows.decide import decide_promotion, require_named
    from models.promotion.exposure import ExposurePolicy
    from models.promotion.gates import PromotionPolicy
    from tasks.local import environment
    from tasks.promotion import ledger
    from tasks.promotion.candidate import default_candidate
    from tasks.tracking import registry

    require_named(version, approve_exposure, reason)
    limits = _limits(exposure)
    policy = PromotionPolicy(
        tolerance=tolerance,
        max_client_drop=max_client_drop,
        exposure=ExposurePolicy.of(limits),
        max_epsilon=max_epsilon,
    )
    home = environment.apply()
    client = registry.open_registry(home)
    send_what_waits(home)
    name = registry.resolve_model_name(client, model_name)
    # Checked before Prefect or MLflow is imported, so that a wrong version is reported at once.
    candidate, best = (version, None) if version else default_candidate(home, client, name)
    if best:
        click.echo(best, err=True)
    registry.tags_of(client, name, candidate)
    ledger.read_verified(home, client, name)
    by, why = actor_or_user(actor), clean(reason)
    outcome: Any
    if environment.prefect_api_url():
        from flows.promote import promotion

        outcome = promotion(
            model_name=name,
            version=candidate,
            actor=by,
            reason=why,
            tolerance=tolerance,
            max_client_drop=max_client_drop,
            exposure=limits,
            max_epsilon=max_epsilon,
            approve_exposure=why if approve_exposure else "",
        )
    else:
        outcome = decide_promotion(
            home, client, name, candidate, policy, actor=by, reason=why, approve_exposure=approve_exposure
        )
    finish(outcome, as_json, _limits_given())


def _limits_given() -> list[str]:
    """Return the options about the gates as they were given, to print a command that repeats them."""
    context, found = click.get_current_context(), []
    for name in ("tolerance", "max_client_drop", "exposure", "max_epsilon"):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            value = context.params[name]
            for each in value if isinstance(value, tuple) else (value,):
                found += [f"--{name.replace('_', '-')}", shlex.quote(str(each))]
    return found


def _limits(settings: Sequence[str]) -> dict[str, float]:
    """Return the limits in texts such as `least=0.3`.

    Raises:
        InvalidInput: a text is not a name and a number.
    """
    found = {}
    for text in settings:
        name, _, number = text.partition("=")
        try:
            found[name] = float(number)
        except ValueError:
            raise InvalidInput(
                f"--exposure needs KEY=NUMBER, got {text!r}.", next_step="Try --exposure least=0.3."
            ) from None
    return found


def send_what_waits(home: Home) -> None:
    """Send what jobs could not send to MLflow before: it may include the newest version."""
    from tasks.jobs.outbox import outboxes

    if any(each.outbox.waiting() for each in outboxes(home)):
        from tasks.tracking import outbox_sender

        outbox_sender.send_what_waits(home, lambda line: click.echo(line, err=True))


def finish(outcome: Mapping[str, Any], as_json: bool, limits: Sequence[str] = ()) -> None:
    """Print the outcome; a refusal ends the command with its exit code.

    Args:
        outcome: of the decision.
        as_json: whether to print JSON.
        limits: options about the gates that a repetition of the command needs, ready for a shell.
    """
    for repaired in outcome["repaired"]:
        click.echo(f"Repaired first: {repaired}.", err=True)
    emit(outcome, as_json=as_json, show=lambda: _show(outcome, limits))
    if not outcome["promoted"]:
        # Not raised as an error, because the outcome must be the only object on stdout.
        raise SystemExit(PromotionRefused.exit_code)


def actor_or_user(actor: str | None) -> str:
    """Return the named actor, or the user who runs this process."""
    if actor:
        return clean(actor)
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return "unknown"


def clean(text: str) -> str:
    """Return the text with undecodable bytes replaced, so that it can be hashed as UTF-8."""
    return text.encode("utf-8", "replace").decode()


def _show(outcome: Mapping[str, Any], limits: Sequence[str]) -> None:
    name, version = outcome["model_name"], outcome["version"]
    if outcome["already_champion"] and outcome["promoted"]:
        click.echo(f"Version {version} of {name} is already the champion; nothing was changed.")
        return
    for verdict in outcome["verdicts"]:
        click.echo(f"{'pass' if verdict['passed'] else 'FAIL'}  {verdict['gate']:<10} {verdict['observed']}")
        # The first champion has nothing to be compared with.
        if outcome["previous"] or not verdict["passed"]:
            click.echo(f"      required:  {verdict['required']}")
    if outcome["gone"]:
        passed_over = ", ".join(map(str, outcome["gone"]))
        click.echo(f"Champions that no longer exist in the registry: version {passed_over}.")
    if outcome["promoted"]:
        instead = f" instead of version {outcome['previous']}" if outcome["previous"] else ""
        click.echo(f"Version {version} of {name} is the champion now{instead}.")
    elif outcome["already_champion"]:
        model, given = shlex.quote(name), "".join(f" {each}" for each in limits)
        click.echo(
            f"Refused: version {version} of {name} is the champion and does not pass; it stays the champion "
            f"until you promote another one with fedrec promote --model {model} --version N{given}, or "
            f"return to the one before with fedrec rollback --model {model}."
        )
    else:
        stays = (
            f"version {outcome['previous']} stays" if outcome["previous"] else "there is still no champion"
        )
        click.echo(f"Refused: version {version} of {name} does not become the champion; {stays}.")
        if [each["gate"] for each in outcome["verdicts"] if not each["passed"]] == ["exposure"]:
            given = "".join(f" {each}" for each in limits)
            click.echo(
                "Look at these items: they may be new or in fashion, or clients may lie (docs/privacy.md). "
                f"Approve with fedrec promote --model {shlex.quote(name)} --version {version}{given} "
                "--approve-exposure --reason TEXT."
            )
    click.echo(f"Decision {outcome['decision_id'][:12]} by {outcome['actor']}, {outcome['decided_at']}.")
    from tasks.local.home import current_home
    from tasks.tracking.pages import mlflow_pages

    pages = mlflow_pages(current_home())
    started = "" if pages.is_served else ", after `make ui`"
    click.echo(f"Version {version} in MLflow{started}: {pages.version(name, version)}")
