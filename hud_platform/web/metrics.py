"""What a platform counts, in the form that Prometheus reads."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

__all__ = ["Metrics"]

_LATENCIES_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_BOUNDS = (*map(str, _LATENCIES_S), "+Inf")


class Metrics:
    """The counters of one running platform.

    Attributes:
        uploaded_bytes: Bytes of contexts and tasks that arrived; label `kind`: `blobs`, `archives`, `tasks`.
        builds: Builds that ended; label `status`: `SUCCEEDED`, `FAILED`, `STOPPED`, `TIMED_OUT`.
        builds_running: Builds that run now.
        builds_queued: Builds that wait for their turn.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = _Requests()
        self._registry.register(self._requests)
        self.uploaded_bytes = Counter(
            "hud_uploaded_bytes", "Bytes of contexts and tasks that arrived.", ("kind",), registry=self._registry
        )
        self.builds = Counter("hud_builds", "Builds that ended, by how.", ("status",), registry=self._registry)
        self.builds_running = Gauge("hud_builds_running", "Builds that run now.", registry=self._registry)
        self.builds_queued = Gauge("hud_builds_queued", "Builds that wait for their turn.", registry=self._registry)

    def count_request(self, method: str, route: str, status: int, took_s: float) -> None:
        """Count a request that was answered; `route` is the template, not the path."""
        self._requests.add(method, route, status, took_s)

    def render(self) -> bytes:
        """Give all of it as Prometheus's text."""
        return generate_latest(self._registry)


class _Requests(Collector):
    """Requests, added up in plain lists: the library's own counters take a lock for each number of each request."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, int], int] = {}
        self._times: dict[tuple[str, str], list[float]] = {}  # the sum of them, then one number a bound

    def add(self, method: str, route: str, status: int, took_s: float) -> None:
        key = (method, route, status)
        self._counts[key] = self._counts.get(key, 0) + 1
        times = self._times.get((method, route))
        if times is None:
            times = self._times[method, route] = [0.0] * (1 + len(_BOUNDS))
        times[0] += took_s
        times[1 + bisect_left(_LATENCIES_S, took_s)] += 1

    def collect(self) -> Iterator[Metric]:
        counts = CounterMetricFamily("hud_requests", "Requests answered.", labels=("method", "route", "status"))
        for (method, route, status), number in self._counts.items():
            counts.add_metric((method, route, str(status)), number)
        yield counts
        times = HistogramMetricFamily(
            "hud_request_seconds",
            "Time from a request's head to the end of its reply.",
            labels=("method", "route"),
        )
        for labels, (total_s, *numbers) in self._times.items():
            times.add_metric(labels, [*zip(_BOUNDS, accumulate(numbers), strict=True)], sum_value=total_s)
        yield times
