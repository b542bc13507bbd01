"""What a platform counts, in the form that Prometheus reads."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]

_LATENCIES_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The counters of one running platform.

    Attributes:
        uploaded_bytes: Bytes of contexts and tasks that arrived; label `kind`: `blobs`, `archives`, `tasks`.
        builds: Builds that ended; label `status`: `SUCCEEDED`, `FAILED`, `STOPPED`, `TIMED_OUT`.
        builds_running: Builds that run now.
        builds_queued: Builds that wait for their turn.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self._requests = Counter("hud_requests", "Requests answered.", labels, registry=self.registry)
        self._latency = Histogram(
            "hud_request_seconds",
            "Time from a request's head to the end of its reply.",
            ("method", "route"),
            buckets=_LATENCIES_S,
            registry=self.registry,
        )
        self.uploaded_bytes = Counter(
            "hud_uploaded_bytes", "Bytes of contexts and tasks that arrived.", ("kind",), registry=self.registry
        )
        self.builds = Counter("hud_builds", "Builds that ended, by how.", ("status",), registry=self.registry)
        self.builds_running = Gauge("hud_builds_running", "Builds that run now.", registry=self.registry)
        self.builds_queued = Gauge("hud_builds_queued", "Builds that wait for their turn.", registry=self.registry)
        # What `labels()` gives is kept: finding it costs more than counting.
        self._known_requests: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def count_request(self, method: str, route: str, status: int, took_s: float) -> None:
        """Count a request that was answered; `route` is the template, not the path."""
        known = self._known_requests.get((method, route, status))
        if known is None:
            known = (self._requests.labels(method, route, str(status)), self._latency.labels(method, route))
            self._known_requests[method, route, status] = known
        known[0].inc()
        known[1].observe(took_s)

    def render(self) -> bytes:
        """Give all of it as Prometheus's text."""
        return generate_latest(self.registry)
