"""The server's counts and times, by Prometheus' client library, in its text format 0.0.4.

A metric is made without a registry, because models and queues have metrics of their own; the
registry of a server (`state.Service`) takes them all.
"""

from collections.abc import Iterable, Sequence

import prometheus_client
from prometheus_client.metrics_core import Metric

_MS = (1, 2, 3, 4, 5, 7, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)
SECONDS = tuple(ms / 1000 for ms in _MS)
USERS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

# Otherwise each counter and histogram would have a second series, of when it was made.
prometheus_client.disable_created_metrics()


class Histogram(prometheus_client.Histogram):
    """A histogram that writes a bound as `le="1"`, where the library writes "1.0".

    Labels name a series, and another text would break the recorded series in two.
    """

    def collect(self) -> Iterable[Metric]:
        """Yields the histogram and its samples."""
        for metric in super().collect():
            for sample in metric.samples:
                if "le" in sample.labels:
                    sample.labels["le"] = sample.labels["le"].removesuffix(".0")
            yield metric


def counter(name: str, help_text: str, labels: Sequence[str] = ()) -> prometheus_client.Counter:
    """Returns a new counter that is in no registry."""
    return prometheus_client.Counter(name, help_text, labels, registry=None)


def histogram(
    name: str, help_text: str, bounds: Sequence[float], labels: Sequence[str] = ()
) -> Histogram:
    """Returns a new histogram that is in no registry; ``bounds`` are its buckets' upper bounds."""
    return Histogram(name, help_text, labels, buckets=bounds, registry=None)
