"""Prefect's server goes down in the middle of a round and comes back some seconds later."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from flows.terminal.progress import Event, listening


def test_a_restart_of_prefect_during_training_loses_no_round(
    federation: Any, restartable_prefect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes down when a client of round 2 trains, and is away for as long as a start takes."""

    from models.recommenders.lightfm import training

    config = federation.config(federation={"rounds": 4})
    restarts: list[threading.Thread] = []
    train, lock = training.train_round, threading.Lock()

    def restart() -> None:
        restartable_prefect.stop()
        restartable_prefect.start()

    def restarting(*args: Any, **kwargs: Any) -> Any:
        with lock:
            if kwargs["round_"] == 2 and not restarts:
                restarts.append(threading.Thread(target=restart))
                restarts[0].start()
                time.sleep(1)
        return train(*args, **kwargs)

    monkeypatch.setattr(training, "train_round", restarting)
    said: list[Event] = []
    with listening(said.append):
        result = federation.run(config)
    (thread,) = restarts
    thread.join(60)
    assert not thread.is_alive()
    federation.check(config, result, lost={})
