"""The `fedrec` command: runs a subcommand and turns errors into messages and exit codes."""

from __future__ import annotations

import json
import sys
from typing import NoReturn

import click

from flows.terminal.lazy_group import LazyGroup
from models.errors import FedrecError
from models.kernel.clipping import without_long_words
from tasks.local.collector import collect_seldom

# Name -> (module below `flows.commands`, one line of help).
COMMANDS: dict[str, tuple[str, str]] = {
    "data": ("data", "Fetch a public data set; partition interactions into silos."),
    "train": ("train", "Train a federated recommender, or continue an interrupted job."),
    "tune": ("tune", "Search the settings of a training job, on the validation cases."),
    "promote": ("promotion.promote", "Check a model version by the gates and make it the champion."),
    "rollback": ("promotion.rollback", "Return to the previous champion."),
    "audit": (
        "promotion.audit",
        "Show who promoted which version, when and on which evidence; verify the ledger.",
    ),
    "evaluate": ("evaluate", "Evaluate a registered version on held-out interactions."),
    "bench": ("bench.group", "Measure the quality of models, the speed of serving, and the effect of leaks."),
    "recommend": ("serving.recommend", "Recommend items from the champion for a given history."),
    "score": ("serving.score", "Recommend items to all users of a file, as one Parquet file."),
    "publish": ("serving.publish", "Publish the champion to the serving processes, once or continuously."),
    "serve": ("serving.serve", "Serve the champion's recommendations over HTTP."),
    "housekeeping": ("housekeeping", "End what died, and remove what finished jobs no longer need."),
    "deploy": ("deploy", "Create or update Prefect's deployments as prefect.yaml declares."),
    "run": ("run", "Start a run of a deployment, with single values changed."),
    "silo": ("silo.group", "Run a silo, next to its own data."),
    "gateway": ("gateway.serve", "Let silos of other organisations connect to one HTTPS port."),
    "invite": ("gateway.invite", "Write the file with which a silo joins through the gateway."),
    "silos": ("gateway.silos", "Show the silos of the gateway, and when each was last there."),
    "trust": ("trust", "Trust a silo's public key, as the coordinator."),
    "witness": ("witness", "Show the heads that silos signed about their egress ledgers."),
    "privacy": ("privacy", "Show what jobs spent of privacy budgets; count from zero again."),
    "outbox": ("outbox", "Show, send again or drop the records that MLflow does not have."),
    "up": (
        "home.up",
        "Start a Prefect server for this home that stays, so that other commands start faster.",
    ),
    "down": ("home.down", "Stop the server that `fedrec up` started."),
    "status": ("home.status", "Show the server, the jobs and what they are doing."),
    "env": ("env", "Print the environment variables of Prefect and MLflow under fedrec."),
}


@click.group(cls=LazyGroup, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fedrec")
def cli() -> None:
    """Federated training of recommenders, with schedules, audits and promotions.

    All state is below the folder FEDREC_HOME (default: .fedrec in the checkout, or in the
    account's own folder if fedrec is installed).

    Exit codes: 0 done, 1 failed, 2 wrong input, 3 quorum not reached, 4 promotion refused,
    5 contract violated, 6 ledger tampered with, 7 privacy budget exceeded.
    """


def main() -> None:
    """Run `fedrec`; a `FedrecError` ends it with a message and the error's exit code."""
    collect_seldom()
    try:
        # Outside standalone mode click returns the code that a command passed to `ctx.exit`.
        code = cli(standalone_mode=False)
    except click.Abort:
        click.echo("fedrec: interrupted.", err=True)
        sys.exit(130)
    except click.ClickException as wrong:
        wrong.show()
        sys.exit(wrong.exit_code)
    except FedrecError as error:
        _end(error)
    except OSError as error:
        from tasks.local.disk_full import disk_full, is_disk_full
        from tasks.local.home import current_home

        if is_disk_full(error):
            _end(disk_full(error, current_home().root))
        raise
    except Exception as error:
        if "mlflow" in sys.modules:
            from tasks.tracking.outage import is_outage, unavailable

            if is_outage(error):
                _end(unavailable(error))
        raise
    sys.exit(code if isinstance(code, int) else 0)


def _end(error: FedrecError) -> NoReturn:
    # A label, an id or a tag from elsewhere may have any length.
    message = without_long_words(str(error))
    click.echo(f"fedrec: {message}", err=True)
    if "--json" in sys.argv:
        click.echo(json.dumps({"error": {"type": type(error).__name__, "message": message}}))
    sys.exit(error.exit_code)
