"""The measurements of this machine: plausible, named as MLflow names them, and never in the way."""

from __future__ import annotations

import threading
import time

import psutil
import pytest

from tasks.jobs.machine_monitor import MachineMonitor


def test_the_means_since_the_last_call_are_those_of_this_machine() -> None:
    monitor = MachineMonitor(interval_s=0.05)
    time.sleep(0.3)
    found = monitor.means()
    memory = psutil.virtual_memory().used / 1e6
    assert found["system/system_memory_usage_megabytes"] == pytest.approx(memory, rel=0.3)
    assert 0.0 <= found["system/cpu_utilization_percentage"] <= 100.0
    assert found["system/disk_usage_percentage"] == pytest.approx(psutil.disk_usage("/").percent, abs=5)
    # Without a pause there is a new measurement all the same.
    assert set(monitor.means()) == set(found)
    monitor.stop()


def test_its_thread_ends_when_it_is_stopped() -> None:
    monitor = MachineMonitor(interval_s=0.01)
    (thread,) = [each for each in threading.enumerate() if each.name == "MachineMonitor"]
    assert thread.daemon
    monitor.stop()
    thread.join(timeout=10)
    assert not thread.is_alive()


def test_what_cannot_be_measured_is_left_out_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monitor = MachineMonitor(interval_s=60.0)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: 1 / 0)
    assert monitor.means() == {}
    assert monitor.means() == {}
    warned = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warned == ["This machine is not measured: division by zero"]
    assert MachineMonitor().means() == {}
