"""Counts and times as Prometheus reads them (text format 0.0.4): counters, gauges, histograms."""

import bisect
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
import threading

_MS = (1, 2, 3, 4, 5, 7, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)
SECONDS = tuple(ms / 1000 for ms in _MS)
USERS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

Labels = tuple[str, ...]


class Counter:
    """A number that grows, one for each combination of labels."""

    kind = "counter"

    def __init__(self, name: str, said: str, labels: Sequence[str] = ()):
        self.name, self.said, self._labels = name, said, labels
        self._values: dict[Labels, float] = {} if labels else {(): 0.0}
        self._lock = threading.Lock()

    def add(self, *labels: str, by: float = 1.0) -> None:
        """Counts ``by`` more."""
        with self._lock:
            self._values[labels] = self._values.get(labels, 0.0) + by

    def value(self, *labels: str) -> float:
        """So far."""
        return self._values.get(labels, 0.0)

    def lines(self) -> Iterator[str]:
        """Samples in the text format."""
        for labels, value in sorted(dict(self._values).items()):
            yield f"{self.name}{_braces(self._labels, labels)} {_digits(value)}"


class Gauge:
    """A number that is asked for when somebody reads it."""

    kind = "gauge"

    def __init__(self, name: str, said: str, read: Callable[[], float]):
        self.name, self.said, self._read = name, said, read

    def lines(self) -> Iterator[str]:
        """One sample in the text format."""
        yield f"{self.name} {self._read():.10g}"


class Histogram:
    """How many observations were at most so large."""

    kind = "histogram"

    def __init__(self, name: str, said: str, bounds: Sequence[float], label: str = ""):
        self.name, self.said, self._bounds, self._label = name, said, bounds, label
        self._counts: dict[str, list[int]] = defaultdict(lambda: [0] * (len(bounds) + 1))
        self._sums: dict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    def observe(self, value: float, label: str = "") -> None:
        """One observation."""
        with self._lock:
            self._counts[label][bisect.bisect_left(self._bounds, value)] += 1
            self._sums[label] += value

    def lines(self) -> Iterator[str]:
        """Cumulative buckets, sum and count in the text format."""
        with self._lock:
            found = {
                label: (list(counts), self._sums[label]) for label, counts in self._counts.items()
            }
        names = (self._label,) if self._label else ()
        for label, (counts, total) in sorted(found.items()):
            own, below = (label,) if self._label else (), 0
            for bound, count in zip(
                [*map("{:g}".format, self._bounds), "+Inf"], counts, strict=True
            ):
                below += count
                yield f"{self.name}_bucket{_braces((*names, 'le'), (*own, bound))} {below}"
            yield f"{self.name}_sum{_braces(names, own)} {_digits(total)}"
            yield f"{self.name}_count{_braces(names, own)} {below}"


def text(metrics: Sequence[Counter | Gauge | Histogram]) -> str:
    """All of them, each after its help and type."""
    lines = []
    for metric in metrics:
        lines += [f"# HELP {metric.name} {metric.said}", f"# TYPE {metric.name} {metric.kind}"]
        lines += metric.lines()
    return "\n".join(lines) + "\n"


def _digits(value: float) -> str:
    """All of them: a counter beyond a million must not move in steps of ten."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _braces(names: Sequence[str], values: Labels) -> str:
    pairs = (f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))
    return "{" + ",".join(pairs) + "}" if names else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
