"""The metrics for Prometheus. Several workers add up their numbers in shared files."""

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
    "fedrec_serving_request_seconds",
    "Seconds from a request's headers to its response.",
    ["endpoint"],
    buckets=_BUCKETS,
)
_swaps = Counter("fedrec_serving_swaps", "Model versions that were loaded or refused.", ["result"])
_version = Gauge(
    "fedrec_serving_model_version", "The version that is served.", multiprocess_mode="livemostrecent"
)
_hits = Counter("fedrec_serving_hits", "Recommended items that were chosen.", ["version"])
_shadows = Counter("fedrec_serving_shadows", "Queries that the challenger answered in shadow mode.")
_overlap = Counter(
    "fedrec_serving_shadow_overlap",
    "Sum over the shadow queries of the share of items that champion and challenger both recommended.",
)
_alarm = Gauge(
    "fedrec_serving_alarm",
    "1 while the latest published version cannot be served.",
    ["source"],
    multiprocess_mode="livemax",
)
_alarm.labels("bundle").set(0)
_publisher_age = Gauge(
    "fedrec_serving_publisher_age_seconds",
    "Seconds since the publisher last read the registry.",
    multiprocess_mode="livemostrecent",
)
_cache: dict[tuple[str, int], tuple[Counter, Histogram]] = {}


def answered(endpoint: str, status: int, seconds: float) -> None:
    """Count an answered request and its duration in seconds."""
    key = (endpoint, status)
    # Looking up labels takes longer than counting.
    if key not in _cache:
        _cache[key] = (_requests.labels(endpoint, str(status)), _seconds.labels(endpoint))
    counter, histogram = _cache[key]
    counter.inc()
    histogram.observe(seconds)


def swapped(version: int) -> None:
    """Record that a version has replaced the one before."""
    _swaps.labels("done").inc()
    _version.set(version)
    _alarm.labels("bundle").set(0)


def swap_failed() -> None:
    """Record that a version was refused and the one before stays."""
    _swaps.labels("refused").inc()
    _alarm.labels("bundle").set(1)


def hit(version: int) -> None:
    """Count a recommended item that was chosen."""
    _hits.labels(str(version)).inc()


def shadowed(overlap: float) -> None:
    """Count a query that the challenger also answered, and the share of items that both recommended."""
    _shadows.inc()
    _overlap.inc(overlap)


def publisher_failed(failed: bool) -> None:
    """Record whether the publisher failed to publish the registry's champion."""
    _alarm.labels("publisher").set(failed)


def publisher_seen(seconds: float) -> None:
    """Record how many seconds ago the publisher last read the registry."""
    _publisher_age.set(seconds)


def exposition() -> bytes:
    """Return all metrics in Prometheus' text format."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
    return generate_latest(OWN)
