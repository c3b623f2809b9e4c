"""`fedrec outbox`: the records of jobs that MLflow does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from flows.terminal.output import emit, json_option
from models.errors import NotFound

if TYPE_CHECKING:
    from tasks.jobs.outbox import JobOutbox
    from tasks.local.home import Home


@click.group(name="outbox")
def command() -> None:
    """Show, send again or drop the records of jobs that MLflow does not have.

    While MLflow is unavailable, records wait. The next fedrec train, fedrec promote or housekeeping sends
    them. A record that MLflow refuses is set aside with the reason, and so are the rounds and the result
    after it, because versions are numbered in the order of their rounds. The job and all other jobs go on.
    """


@command.command(name="list")
@json_option
def list_(as_json: bool) -> None:
    """Show the records that wait for MLflow and those that it refused, with the reasons."""
    from tasks.jobs.outbox import outboxes
    from tasks.local.home import current_home

    result = {"jobs": [_described(each) for each in outboxes(current_home())]}
    emit(result, as_json=as_json, show=lambda: _show(result))


@command.command()
@click.argument("job_ids", nargs=-1, metavar="[JOB]...")
@json_option
@click.pass_context
def retry(ctx: click.Context, job_ids: tuple[str, ...], as_json: bool) -> None:
    """Send the records of these jobs, or of all jobs, again in their order.

    Do this after mending the cause. Exit code 1 means that MLflow still lacks records of one of them.
    """
    from tasks.jobs.outbox import outboxes
    from tasks.local.environment import apply
    from tasks.tracking.outbox_sender import send_again

    home = apply()
    chosen = [_job(home, job_id) for job_id in job_ids] or outboxes(home)
    sent = {
        each.journal.job_id: send_again(home, each.journal, lambda line: click.echo(line, err=True))
        for each in chosen
    }
    jobs = [_described(each) for each in chosen if not sent[each.journal.job_id]]
    result: dict[str, Any] = {"sent": [name for name, is_sent in sent.items() if is_sent], "jobs": jobs}

    def show() -> None:
        for job_id in result["sent"]:
            click.echo(f"MLflow has all records of job {job_id} now.")
        if jobs or not sent:
            _show(result)

    emit(result, as_json=as_json, show=show)
    ctx.exit(1 if jobs else 0)


@command.command()
@click.argument("job_id", metavar="JOB")
@click.option(
    "--record",
    "numbers",
    type=click.IntRange(min=0),
    multiple=True,
    metavar="N",
    help="Only this record; repeatable. fedrec outbox retry then sends the ones that followed it.",
)
@json_option
def drop(job_id: str, numbers: tuple[int, ...], as_json: bool) -> None:
    """Delete the refused records of a job. MLflow will lack them, but the job's journal keeps its rounds."""
    from tasks.jobs.journal import held_alone
    from tasks.jobs.outbox import drop_refused
    from tasks.local.home import current_home

    with held_alone(_job(current_home(), job_id).journal) as journal:
        dropped = drop_refused(journal, numbers)
    result = {
        "job_id": job_id,
        "dropped": [{"record": number, "what": each.what} for number, each in dropped.items()],
    }

    def show() -> None:
        named = ", ".join(f"{number} ({each.what})" for number, each in dropped.items())
        click.echo(f"Dropped of job {job_id}: {named}.")

    emit(result, as_json=as_json, show=show)


def _job(home: Home, job_id: str) -> JobOutbox:
    from tasks.jobs.outbox import outboxes

    for each in outboxes(home):
        if each.journal.job_id == job_id:
            return each
    raise NotFound(
        f"MLflow lacks no records of a job {job_id!r} below {home.jobs}.",
        next_step="fedrec outbox list shows the jobs of which it lacks some.",
        job_id=job_id,
    )


def _described(job: JobOutbox) -> dict[str, Any]:
    refused = [(each, each.refusal) for each in job.outbox.refused()]
    return {
        "job_id": job.journal.job_id,
        "waiting": job.outbox.count(),
        "refused": [
            {
                "record": each.number,
                "what": refusal.what,
                "reason": refusal.reason,
                "follows": refusal.follows,
                "refused_at": refusal.refused_at,
                "file": str(each.path),
            }
            for each, refusal in refused
        ],
    }


def _show(result: dict[str, Any]) -> None:
    """Print lines and no table, so that no reason is cut off."""
    if not result["jobs"]:
        click.echo("No record of a job waits for MLflow, and none was refused.")
    for job in result["jobs"]:
        if job["waiting"]:
            click.echo(f"Job {job['job_id']}: records that wait until MLflow is available: {job['waiting']}.")
        if job["refused"]:
            click.echo(f"Job {job['job_id']}: records that MLflow does not take: {len(job['refused'])}.")
        for each in job["refused"]:
            click.echo(f"  {each['record']:>3}  {each['what']}: {each['reason']}.")
    if any(job["refused"] for job in result["jobs"]):
        click.echo("fedrec outbox retry JOB sends them again, and fedrec outbox drop JOB deletes them.")
