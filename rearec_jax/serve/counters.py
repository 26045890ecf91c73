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
    """A histogram whose bounds are written as `le="1"`, where the library writes "1.0".

    The text of a label is the name of a series: another text would break recorded series in two.
    """

    def collect(self) -> Iterable[Metric]:
        """Yields the histogram and its samples."""
        for metric in super().collect():
            metric.samples = [
                sample._replace(
                    labels={
                        name: value.removesuffix(".0") if name == "le" else value
                        for name, value in sample.labels.items()
                    }
                )
                for sample in metric.samples
            ]
            yield metric


def counter(name: str, help_text: str, labels: Sequence[str] = ()) -> prometheus_client.Counter:
    """Returns a new counter that is in no registry."""
    return prometheus_client.Counter(name, help_text, labels, registry=None)


def histogram(
    name: str, help_text: str, bounds: Sequence[float], labels: Sequence[str] = ()
) -> Histogram:
    """Returns a new histogram that is in no registry; ``bounds`` are its buckets' upper bounds."""
    return Histogram(name, help_text, labels, buckets=bounds, registry=None)
