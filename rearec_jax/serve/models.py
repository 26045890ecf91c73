"""The models of a server by name: loaded, compiled, replaced when a newer one takes their place."""

from collections.abc import Callable, Sequence
import dataclasses
import logging
import pathlib
import threading
import time

from rearec_jax.errors import UserError
from rearec_jax.recommend import model_directory
from rearec_jax.recommend.model_directory import Stamp, stamp
from rearec_jax.serve.counters import counter
from rearec_jax.serve.limits import Limits
from rearec_jax.serve.search import Search
from rearec_jax.serve.warm_model import Served, serve

RETRY_SECONDS, LONGEST_RETRY = 30.0, 480.0  # until what was refused is tried again; it doubles

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class Version:
    """What a directory held when it was read. stamp: changes when the model there does."""

    served: Served
    search: Search
    stamp: Stamp | None


@dataclasses.dataclass(frozen=True)
class Refusal:
    """What could not be used when it was tried, and until when it is not tried again.

    It may have been half copied, or memory short for a moment.
    """

    stamp: Stamp | None
    seconds: float
    until: float

    @classmethod
    def of(cls, found: Stamp | None, before: "Refusal | None") -> "Refusal":
        """Lasts twice as long where the same was refused before."""
        seconds = RETRY_SECONDS
        if before and before.stamp == found:
            seconds = min(2 * before.seconds, LONGEST_RETRY)
        return cls(found, seconds, time.monotonic() + seconds)


@dataclasses.dataclass(eq=False)
class Place:
    """A model's directory and what is served of it. problem: why what lies there now is not."""

    name: str
    path: pathlib.Path
    current: Version
    is_ready: bool = False
    problem: str | None = None
    refused: Refusal | None = None

    def refuse(self, found: Stamp | None, error: Exception) -> None:
        """Notes that what lies there cannot be used now."""
        self.problem = str(error) or type(error).__name__
        self.refused = Refusal.of(found, self.refused)

    def is_due(self, found: Stamp) -> bool:
        """Is what lies there neither served nor refused a short time ago?"""
        if self.refused and self.refused.stamp == found:
            return time.monotonic() >= self.refused.until
        return found != self.current.stamp or not self.is_ready


class Models:
    """All models. Reading is safe from any thread: a place's version is replaced as a whole."""

    def __init__(self, paths: Sequence[str], limits: Limits):
        """Loads them all; nothing is compiled yet.

        Raises:
            UserError: no directory is given, one twice, or one holds no model.
        """
        if not paths:
            raise UserError("--workdir=DIR, a finished run or an exported model, is missing")
        self._limits = limits
        self._stopped = threading.Event()
        self.reloads = counter("rearec_reloads_total", "Newer models taken, or not.", ("result",))
        self.places: dict[str, Place] = {}
        for path in map(pathlib.Path, paths):
            name = _unused(path.absolute().name or "model", self.places)
            self.places[name] = Place(name, path, self._load(name, path))

    @property
    def default(self) -> Place:
        """The first that was given."""
        return next(iter(self.places.values()))

    @property
    def are_ready(self) -> bool:
        """Is every program of every model compiled?"""
        return all(place.is_ready for place in self.places.values())

    def find(self, name: str | None) -> Place:
        """Raises UserError where no model has the name."""
        if name is None:
            return self.default
        if name not in self.places:
            raise UserError(f"no model is named {name[:100]!r}; there are {', '.join(self.places)}")
        return self.places[name]

    def compile(self, say: Callable[[str], None]) -> None:
        """Compiles all programs of all models, in turn; a failure is said, and the rest done."""
        for place in self.places.values():
            if self._stopped.is_set():
                return
            started = time.perf_counter()
            try:
                place.current.served.warm_up()
            except Exception as error:  # such as too little memory; `watch` tries it again
                place.refuse(place.current.stamp, error)
                _log.exception("the model in %s cannot be used", place.path)
                say(f"model {place.name} cannot be used: {place.problem}")
                continue
            place.is_ready = True
            say(f"model {place.name} is ready after {time.perf_counter() - started:.1f} s")

    def watch(self, seconds: float, say: Callable[[str], None]) -> None:
        """Looks every so many seconds for newer models, until ``stop``."""
        while not self._stopped.wait(seconds):
            for place in self.places.values():
                self._look(place, say)

    def stop(self) -> None:
        """Ends ``watch`` and, between two models, ``compile``."""
        self._stopped.set()

    def _look(self, place: Place, say: Callable[[str], None]) -> None:
        found = stamp(place.path)
        if found == place.current.stamp and place.is_ready:
            place.problem = place.refused = None  # what was refused is gone
        if found is None or not place.is_due(found):
            return
        if self._stopped.wait(0.2) or stamp(place.path) != found:
            return  # it is still being put there: the next look
        try:
            version = self._load(place.name, place.path)
            version.served.warm_up()
        except Exception as error:  # whatever is wrong with it, the one in use stays
            place.refuse(found, error)
            self.reloads.labels("refused").inc()
            if not isinstance(error, UserError):
                _log.exception("the new model in %s cannot be used", place.path)
            say(f"model {place.name} stays as it was: {place.problem}")
            return
        place.current, place.problem, place.refused = version, None, None
        place.is_ready = True
        self.reloads.labels("taken").inc()
        say(f"model {place.name} is replaced by what {place.path} holds now")

    def _load(self, name: str, path: pathlib.Path) -> Version:
        found = stamp(path)  # before it is read: if it changes meanwhile, it is read again
        # Of a link its present target: all files are of one version, whatever the link does next.
        recommender = model_directory.load(path.resolve() if path.exists() else path)
        served = serve(name, recommender, self._limits)
        return Version(served, Search(recommender), found)


def _unused(name: str, taken: dict[str, Place]) -> str:
    number, unused = 2, name
    while unused in taken:
        number, unused = number + 1, f"{name}-{number}"
    return unused
