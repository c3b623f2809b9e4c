"""Texts about jobs for people: names and descriptions of runs and versions in MLflow, and what it refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from models.evaluation.judgement import judgement_of
from models.evaluation.trained_pairs import LEFT_OUT
from models.kernel.metric import as_json, values
from models.privacy.guarantee import Guarantee
from tasks.messages.job_opening import Continued, JobOpening
from tasks.messages.outbox_messages import Refusal
from tasks.messages.record import as_json_object
from tasks.messages.round_record import EvaluatedRound

# MLflow's table cuts long names.
_NAMED_SETTINGS = 3
# MLflow refuses a tag of more than 8000 characters.
_LONGEST = 4000
_CHANGE_NO_MODEL = ("evaluation.", "contracts.")
# They stand in every name and description.
_ALWAYS_SAID = ("train.family", "train.dims", "federation.rounds")


def run_name(opening: JobOpening, job_id: str) -> str:
    """Return what a job trains and what differs from the defaults, then the end of its id.

    Example:
        "ials, 64 dims, 8 rounds, regularisation 0.1 (3f9c1a2b-1)"
    """
    settings = [
        f"{key.rpartition('.')[2]} {value}"
        for key, value in _differing(opening)
        if not key.startswith(_CHANGE_NO_MODEL)
    ]
    more = [f"{len(settings) - _NAMED_SETTINGS} more"] if len(settings) > _NAMED_SETTINGS else []
    said = ", ".join([*_model(opening), *settings[:_NAMED_SETTINGS], *more])
    return f"{said} ({job_id.removeprefix(f'{opening.name}-')})"


def run_description(opening: JobOpening, job_id: str, outcome: str) -> str:
    """Return a run's description: the outcome first, then what the job trains and what is not by default."""
    settings = [f"{key} {value}" for key, value in _differing(opening)]
    differs = f"Not by default: {', '.join(settings)}." if settings else "All else is by default."
    said = [f"Job {job_id}: {', '.join(_model(opening))}.", differs]
    if opening.continued:
        said.insert(1, f"{continued_line(opening.continued, opening.rounds, 'It')}")
    return f"{outcome}\n\n{' '.join(said)}"[:_LONGEST]


def continued_line(continued: Continued, rounds: int, subject: str) -> str:
    """Return the sentence that `subject`, a job of `rounds` rounds, continues an earlier one."""
    return f"{subject} continues job {continued.job_id} from round {continued.round} of {rounds}."


def version_description(record: EvaluatedRound) -> str:
    """Return a version's description: the round, its deciding metric, and the clients in it."""
    found = values(as_json(record.evaluation.metrics)) if record.evaluation else {}
    by = judgement_of(found)
    measured = (
        f"{by.quality_label} {found[by.quality]:.4f} on the validation cases"
        if by.quality in found
        else "not evaluated"
    )
    left_out = record.evaluation.metrics.get(LEFT_OUT) if record.evaluation else None
    if left_out and left_out.total:
        measured += (
            f" ({int(left_out.total)} of {int(left_out.weight)} left out, because earlier trainings of the "
            "model saw them or may have)"
        )
    clients = _count(len(record.accepted), "client")
    rejected = f", {len(record.rejected)} rejected" if record.rejected else ""
    promised = record.privacy
    private = f"; epsilon {promised.epsilon:g} for each {promised.unit}" if promised else ""
    return f"Round {record.round} of job {record.job_id}: {measured}; {clients} accepted{rejected}{private}."


def privacy_facts(privacy: Guarantee | None, prefix: str) -> dict[str, str]:
    """Return prefixed name -> value of what a job promises each user, for tags and parameters in MLflow."""
    found = as_json_object(privacy) if privacy else {}
    return {f"{prefix}{name}": str(value) for name, value in found.items() if value is not None}


def refused_line(job_id: str, refused: Sequence[Refusal]) -> str:
    """Return one line about the messages of a job that MLflow refused."""
    more = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
    return (
        f"Records of job {job_id} are set aside, because MLflow does not take them "
        f"({refused[0].what}{more}): {refused[0].reason}. See fedrec outbox list; "
        f"fedrec outbox retry {job_id} sends them again."
    )


def _model(opening: JobOpening) -> list[str]:
    """Return the family, its dimensions if it has any, and the number of rounds."""
    dims, rounds = opening.setting("train.dims"), opening.setting("federation.rounds")
    return [
        opening.family,
        *([f"{dims} dims"] if isinstance(dims, int) else []),
        *([_count(rounds, "round")] if isinstance(rounds, int) else []),
    ]


def _differing(opening: JobOpening) -> Iterator[tuple[str, str]]:
    """Yield dotted key and value of each setting that differs from its default and is not said anyway."""
    for key in opening.differing or ():
        if key not in _ALWAYS_SAID:
            yield key, _shown(opening.setting(key))


def _shown(value: JsonValue) -> str:
    """Return a setting's value as text. A list of postprocessors is shown by their names."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        names = [str(each.get("name", each)) if isinstance(each, Mapping) else str(each) for each in value]
        return " + ".join(names) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
