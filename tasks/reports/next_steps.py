"""What to run after a job, for its own model and its own items."""

from __future__ import annotations

from collections.abc import Iterable
from shlex import quote

from models.evaluation.judgement import judgement_of
from tasks.messages.job_result import JobResult

_WANTED = 2


def example_items(items: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Return how a command names two items: by title, or by id if the title does not name one item alone.

    Args:
        items: (item id, title) of the whole catalogue, preferred items first. They may be named again.
    """
    named = dict(items)
    titles = list(named.values())
    found: list[str] = []
    for item_id, title in named.items():
        is_clear = title.isprintable() and title.strip() == title != "" and titles.count(title) == 1
        name = title if is_clear and title not in named else item_id
        # A report marks commands by backticks.
        if name.isprintable() and "`" not in name:
            found.append(name)
        if len(found) == _WANTED:
            break
    return tuple(found)


def steps_after(result: JobResult) -> list[str]:
    """Return the commands for the job's best round, one line each; none if it has no round."""
    if not result.rounds:
        return []
    model = f"--model {quote(result.model_name)}"
    steps = _promotion(result, model)
    if result.examples:
        history = " ".join(f"--item {quote(name)}" for name in result.examples)
        steps.append(f"Ask the champion: `fedrec recommend {model} {history} -k 10`")
    return [
        *steps,
        f"Serve it over HTTP: `fedrec serve {model}`",
        f"See who promoted what, when and on which evidence: `fedrec audit {model}`",
    ]


def _promotion(result: JobResult, model: str) -> list[str]:
    """Return how to promote the best round. The newest version of the model may be another job's."""
    best = result.best_round
    if best is None:
        return []
    why = f"the best of the job's rounds by validation {judgement_of({best.metric}).quality_label}"
    if best.version is None:
        return [
            f"Round {best.round}, {why}, has no version until MLflow has received it: `fedrec housekeeping` "
            "sends it, and the same training command then names its version"
        ]
    return [
        f"Put version {best.version}, {why}, through the gates: "
        f"`fedrec promote {model} --version {best.version}`"
    ]
