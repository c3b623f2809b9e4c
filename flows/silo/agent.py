"""Runs the agent of a silo behind a gateway, whose steps a process does that has imported everything."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor

import click
from filelock import FileLock, Timeout

from flows.silo.settings import SiloSettings
from models.errors import InvalidInput
from tasks.local.home import Home
from tasks.silos.agent import Agent
from tasks.silos.gateway_client import GatewayClient
from tasks.silos.joined import joined
from tasks.silos.keys import load_key


def serve(settings: SiloSettings, home: Home, url: str | None = None) -> None:
    """Do the silo's orders until SIGINT or SIGTERM.

    Args:
        settings: of the silo.
        home: of the silo.
        url: another address of the gateway that the silo has joined.

    Raises:
        FedrecError: the silo has joined no gateway, has no key, or is refused.
    """
    # One thread per LightFM call, as the coordinator's own clients have.
    os.environ["OMP_NUM_THREADS"] = "1"
    # Nobody else may read what a silo keeps: its key, interactions and users.
    os.umask(0o077)
    client = GatewayClient(joined(home).address(url), load_key(home))
    with _only_agent(home):
        signal.signal(signal.SIGTERM, _stop)
        agent = Agent(settings.silo(home), client, _process, lambda line: click.echo(line, err=True))
        try:
            agent.run()
        except KeyboardInterrupt:
            click.echo("Stopped.", err=True)
        finally:
            agent.close()
            client.close()


@contextlib.contextmanager
def _only_agent(home: Home) -> Iterator[None]:
    """Hold the home for this agent. The lock of a process that was killed is free.

    Raises:
        InvalidInput: another agent has it.
    """
    folder = home.root / "gateway"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "agent.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InvalidInput(
            f"An agent of this silo runs already from {home.root}.", next_step="Stop it first, or leave it."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _process() -> Executor:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tasks.silos.perform_step"])
    return ProcessPoolExecutor(1, context, initializer=_follow_the_agent)


def _follow_the_agent() -> None:
    # A Ctrl-C reaches this process too; the agent ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # An agent that is killed cannot end it. The next agent does the step again, in another process.
    threading.Thread(target=_end_with_the_agent, daemon=True).start()


def _end_with_the_agent() -> None:
    agent = multiprocessing.parent_process()
    assert agent is not None  # noqa: S101  # this runs in the agent's process for steps
    agent.join()
    os._exit(1)


def _stop(_: int, __: object) -> None:
    raise KeyboardInterrupt
