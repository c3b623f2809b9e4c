"""What Prometheus may ask for. Several workers add their numbers up in files that they share."""

from __future__ import annotations

import os

from prometheus_client import REGISTRY as OWN
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

_BUCKETS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)

_requests = Counter("fedrec_serving_requests", "Requests answered.", ["endpoint", "status"])
_seconds = Histogram(
    "fedrec_serving_request_seconds", "From a request's head to its reply.", ["endpoint"], buckets=_BUCKETS
)
_swaps = Counter("fedrec_serving_swaps", "Models that took over, or were refused.", ["result"])
_version = Gauge("fedrec_serving_model_version", "Version that answers.", multiprocess_mode="livemostrecent")
_hits = Counter("fedrec_serving_hits", "Recommended items that were chosen.", ["version"])
_shadows = Counter("fedrec_serving_shadows", "Questions that the challenger was asked, too.")
_overlap = Counter(
    "fedrec_serving_shadow_overlap", "Sum over these of the share of items that both recommended."
)
_alarm = Gauge(
    "fedrec_serving_alarm",
    "1 while what was published last cannot be served.",
    ["source"],
    multiprocess_mode="livemax",
)
_alarm.labels("bundle").set(0)
_publisher_age = Gauge(
    "fedrec_serving_publisher_age_seconds",
    "Since the publisher looked at the registry last.",
    multiprocess_mode="livemostrecent",
)
_cache: dict[tuple[str, int], tuple[Counter, Histogram]] = {}


def answered(endpoint: str, status: int, seconds: float) -> None:
    """A request was answered."""
    key = (endpoint, status)
    # Looking labels up takes longer than counting.
    if key not in _cache:
        _cache[key] = (_requests.labels(endpoint, str(status)), _seconds.labels(endpoint))
    counter, histogram = _cache[key]
    counter.inc()
    histogram.observe(seconds)


def swapped(version: int) -> None:
    """A version took over."""
    _swaps.labels("done").inc()
    _version.set(version)
    _alarm.labels("bundle").set(0)


def swap_failed() -> None:
    """A version was refused, and the one before it stays."""
    _swaps.labels("refused").inc()
    _alarm.labels("bundle").set(1)


def hit(version: int) -> None:
    """A recommended item was chosen."""
    _hits.labels(str(version)).inc()


def shadowed(overlap: float) -> None:
    """The challenger answered, too."""
    _shadows.inc()
    _overlap.inc(overlap)


def publisher_failed(failed: bool) -> None:
    """Whether the publisher could not publish what the registry names."""
    _alarm.labels("publisher").set(failed)


def publisher_seen(seconds: float) -> None:
    """How long ago the publisher looked at the registry."""
    _publisher_age.set(seconds)


def exposition() -> bytes:
    """All numbers in Prometheus' text format."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
    return generate_latest(OWN)
