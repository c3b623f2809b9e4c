"""The gateway's metrics for Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0)
_requests = Counter("fedrec_gateway_requests", "Requests answered.", ["endpoint", "status"])
_seconds = Histogram(
    "fedrec_gateway_request_seconds", "Seconds from a request to its answer.", ["endpoint"], buckets=_BUCKETS
)


def count_request(endpoint: str, status: int, seconds: float) -> None:
    """Count an answered request."""
    _requests.labels(endpoint, str(status)).inc()
    _seconds.labels(endpoint).observe(seconds)
