"""Figures for Prometheus: what was asked, how long it took, and which versions are in use.

https://prometheus.io/docs/practices/naming/
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from cloudedge.errors import CloudedgeError
from cloudedge.serving.models import Models

BUCKETS = (0.001, 0.0025, 0.005, 0.0075, 0.01, 0.0167, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Bounds of durations, in seconds; one is a frame of 60 a second."""


class Metrics:
    """The figures of one server, in a registry of their own.

    Attributes:
        registry: What Prometheus' library makes the page of.
    """

    def __init__(self, models: Models) -> None:
        self.registry = CollectorRegistry()
        self._models = models
        labels = ("model", "protocol")
        self._requests = Counter("cloudedge_infer_requests", "Requests for inference.", labels, registry=self.registry)
        self._errors = Counter(
            "cloudedge_infer_errors", "Requests for inference that failed.", (*labels, "error"), registry=self.registry
        )
        self._seconds = Histogram(
            "cloudedge_infer_seconds",
            "Time from a request for inference to its answer.",
            labels,
            buckets=BUCKETS,
            registry=self.registry,
        )
        resident = Gauge("cloudedge_resident_bytes", "Memory of the process.", registry=self.registry)
        resident.set_function(resident_bytes)
        self.registry.register(_OfModels(models))

    @contextmanager
    def asked(self, name: str, protocol: str) -> Iterator[None]:
        """Count a request for inference, and how it ends. Names that are no model's are counted as one, which is empty."""
        labels = (name if self._models.current(name) else "", protocol)
        began = time.perf_counter()
        self._requests.labels(*labels).inc()
        try:
            yield
        except BaseException as error:
            kind = type(error).__name__ if isinstance(error, CloudedgeError) else "Other"
            self._errors.labels(*labels, kind).inc()
            raise
        finally:
            self._seconds.labels(*labels).observe(time.perf_counter() - began)


class _OfModels(Collector):
    """What the models themselves know."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def collect(self) -> Iterator[Metric]:
        """The figures now."""
        counts = self._models.counts()
        for field, words in {
            "loads": "Loads that succeeded.",
            "failed_loads": "Loads that failed.",
            "swaps": "Times that another version came into use.",
            "rollbacks": "Times that this was the version before.",
        }.items():
            family = CounterMetricFamily(f"cloudedge_model_{field}", words, labels=("model",))
            for name, of_name in counts.items():
                family.add_metric((name,), getattr(of_name, field))
            yield family
        in_use = GaugeMetricFamily(
            "cloudedge_model_in_use", "1 for each version in use.", labels=("model", "version", "sha256")
        )
        for name in counts:
            current = self._models.current(name)
            if current is not None:
                in_use.add_metric((name, current.version, current.deployable.sha256), 1)
        yield in_use


def resident_bytes() -> float:
    """Memory of this process that is in RAM."""
    return float(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
