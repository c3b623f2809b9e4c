"""Measures this machine for MLflow's page of system metrics."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.system_metrics.metrics.base_metrics_monitor import BaseMetricsMonitor

_PREFIX = "system/"
_INTERVAL_S = 10.0


def is_measured(setting: bool) -> bool:
    """Return whether the configuration's setting or MLflow's own variable asks for system metrics."""
    # As MLflow reads it, without importing MLflow.
    asked = os.environ.get("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "")
    return setting or asked.lower() in ("true", "1")


class MachineMonitor:
    """Measures processor, memory, disk, network and GPUs in a thread of its own, with MLflow's monitors.

    Means over each round go to MLflow with the round's other metrics. So a monitor itself sends nothing, and
    what it measured waits in the outbox like everything else while MLflow is unavailable. It raises no error:
    after one, it measures nothing.

    Args:
        interval_s: seconds between two measurements. MLflow's own variable
            `MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL` overrides it.
    """

    def __init__(self, interval_s: float = _INTERVAL_S) -> None:
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._monitors: list[BaseMetricsMonitor] = []
        try:
            from mlflow.environment_variables import MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL

            self._interval_s = MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL.get() or interval_s
            self._monitors = _monitors()
            # The first measurement of the processor's use has no start.
            for each in self._monitors:
                each.collect_metrics()
                each.clear_metrics()
        except Exception as error:  # noqa: BLE001 - a job must not fail by what only watches it
            self._give_up(error)
            return
        threading.Thread(target=self._measure_on, name="MachineMonitor", daemon=True).start()

    def means(self) -> dict[str, float]:
        """Return the means since the last call by their names in MLflow. The network's counts are totals."""
        found = self._measure(to_end=True)
        return {f"{_PREFIX}{name}": float(value) for name, value in found.items()}

    def stop(self) -> None:
        """Stop measuring."""
        self._ended.set()

    def _measure_on(self) -> None:
        while not self._ended.wait(self._interval_s):
            self._measure()

    def _measure(self, *, to_end: bool = False) -> dict[str, float]:
        """Measure once; with `to_end`, return the means over all measurements, and forget these."""
        found: dict[str, float] = {}
        with self._lock:
            try:
                for each in self._monitors:
                    each.collect_metrics()
                    if to_end:
                        found |= each.aggregate_metrics()
                        each.clear_metrics()
            except Exception as error:  # noqa: BLE001 - as above
                self._give_up(error)
                return {}
        return found

    def _give_up(self, error: Exception) -> None:
        self._monitors = []
        self._ended.set()
        logging.getLogger(__name__).warning("This machine is not measured: %s", error)


def _monitors() -> list[BaseMetricsMonitor]:
    """Return MLflow's monitors for this machine, with that of its GPUs if MLflow finds any."""
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor
    from mlflow.system_metrics.metrics.rocm_monitor import ROCMMonitor

    found: list[BaseMetricsMonitor] = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    for kind in (GPUMonitor, ROCMMonitor):
        # They raise errors of many kinds on a machine without such GPUs.
        with contextlib.suppress(Exception):
            return [*found, kind()]
    return found
