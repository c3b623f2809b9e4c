"""`fedrec train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows.terminal.output import emit, json_option

if TYPE_CHECKING:
    from flows.terminal.progress import Event
    from tasks.messages.job_result import JobResult


@click.command("train")
@click.option(
    "--config",
    "path",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="YAML file; configs/ml-100k.yaml explains every key.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a key, such as train.dims=64 or data.dir=DIR; repeatable.",
)
@click.option(
    "--again",
    is_flag=True,
    help="Train all rounds as a new job, even if this configuration or one with fewer rounds is finished.",
)
@json_option
@click.pass_context
def command(ctx: click.Context, path: Path, overrides: tuple[str, ...], again: bool, as_json: bool) -> None:
    """Train a federated recommender over all silos of a partition.

    Every round is committed to disk, tracked in MLflow and registered as a model version. After an
    interruption the same command continues from the last committed round. A configuration that is
    finished on the same data is not trained again, because it would give the same model. With a larger
    federation.rounds a new job continues from the last round that both have in common, and gives the same
    model as training all rounds. Exit code 3 means that a round missed its quorum, 5 that a merged model
    broke its contract. In both cases the newest committed model is kept. Exit code 7 means that the job would
    pass its privacy budget, and nothing was trained.
    """
    from flows.settings.training_config import load_config

    config = load_config(path, overrides)
    from tasks.local.environment import apply

    apply()
    from flows.local import start_server_early

    start_server_early(config)
    from flows.terminal.progress_console import ProgressConsole

    progress = ProgressConsole()
    from flows.jobs.job import finished_before
    from tasks.orchestration.server import is_temporary_server_starting, stop_temporary_server

    if not again and (found := finished_before(config)):
        stop_temporary_server()
        _end_finished(found, as_json, progress)
        return
    with _Shown(progress) as shown:
        server = "Prefect's server and " if is_temporary_server_starting() else ""
        shown.print(f"Starting {server}the job.")
        from flows.terminal.interrupts import EXIT_CODE, quiet_interrupts

        try:
            with quiet_interrupts():
                from flows.terminal.progress import listening
                from flows.train import run_locally

                with listening(shown.event):
                    result, exit_code = run_locally(config, again=again)
        except KeyboardInterrupt:
            shown.print(f"fedrec: interrupted. {shown.continues()}")
            ctx.exit(EXIT_CODE)
    emit(result.to_json(), as_json=as_json, show=lambda: _show(result))
    if result.stop_reason and as_json:
        progress.print(f"fedrec: {result.stop_reason}", markup=False)
    ctx.exit(exit_code)


def _end_finished(result: JobResult, as_json: bool, progress: Any) -> None:
    """Print the result of an earlier job, and send what its tracking still waits for."""
    from tasks.jobs.journal import Journal
    from tasks.jobs.outbox import outbox_of
    from tasks.local.home import current_home
    from tasks.tracking.outbox_sender import send_what_waits

    home = current_home()
    send_what_waits(home, lambda line: progress.print(line, markup=False, highlight=False, soft_wrap=True))
    # MLflow may have assigned versions only now.
    result = Journal(home.jobs / result.job_id).result() or result
    emit(result.to_json(), as_json=as_json, show=lambda: _show(result))
    more = " More federation.rounds continue it."
    if result.privacy:
        more = f" Its noise was charged to the account {result.privacy.account!r} then, and nothing is now."
    progress.print(
        f"Job {result.job_id} has finished this configuration on these data, so nothing was trained. Change "
        f"the configuration or the data, or train a new job with --again.{more}",
        markup=False,
        highlight=False,
    )
    if refused := outbox_of(Journal(home.jobs / result.job_id)).refused():
        progress.print(
            f"MLflow lacks {len(refused)} of its records. fedrec outbox list shows why.", markup=False
        )


def _show(result: JobResult) -> None:
    from rich.console import Console

    from flows.jobs.conclusion import open_next
    from flows.terminal.summary import show_result

    show_result(result, Console(), open_next=open_next(result))


class _Shown:
    """Shows progress as a bar on a terminal, and as lines elsewhere."""

    def __init__(self, console: Any) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = console
        self._bar = Progress(
            TextColumn("[progress.description]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("rounds"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: Any = None
        self._round = 0

    def __enter__(self) -> _Shown:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def print(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def continues(self) -> str:
        """Return the sentence that says from where the same command continues."""
        if not self._round:
            return "The same command continues the job from its last finished round."
        return f"The same command continues after round {self._round}."

    def event(self, event: Event) -> None:
        """Show an event in the bar or as a line."""
        if event.round is None:
            self.print(event.text)
            return
        self._round = event.round
        if not self._console.is_terminal:
            self.print(f"Round {event.round}/{event.rounds}: {event.text}")
            return
        if self._task is None:
            self._task = self._bar.add_task("", total=event.rounds)
        self._bar.update(self._task, completed=event.round, description=event.text)
