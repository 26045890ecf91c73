"""Loads and compiles the models of a server, and replaces them when newer ones appear."""

from collections.abc import Callable, Sequence
import dataclasses
import gc
import logging
import math
import pathlib
import threading
import time

from rearec_jax.errors import UserError, shown
from rearec_jax.recommend import model_directory
from rearec_jax.recommend.model_directory import Stamp, stamp
from rearec_jax.serve.counters import counter
from rearec_jax.serve.limits import Limits
from rearec_jax.serve.search import Search
from rearec_jax.serve.warm_model import Served, serve

RETRY_SECONDS, LONGEST_RETRY = 30.0, 480.0  # before a refused model is tried again; doubles
SOONEST, LATEST = 5, 60  # seconds after which a client is told to ask again
HEAD_START = 5.0  # seconds after which a model waits no longer for the one before it

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class Version:
    """The model that a directory held when it was read.

    served: The model, ready to answer.
    search: The search in its items.
    stamp:  The stamp of its files, which changes whenever a model is put there.
    """

    served: Served
    search: Search
    stamp: Stamp | None


@dataclasses.dataclass(frozen=True)
class Refusal:
    """A model that could not be used, and when it is tried again.

    It is, because it may have been half copied, or memory short for a moment.

    stamp:   The stamp of its files.
    seconds: The time between the refusal and the next try.
    until:   The `time.monotonic()` of the next try.
    """

    stamp: Stamp | None
    seconds: float
    until: float

    @classmethod
    def of(cls, found: Stamp | None, before: "Refusal | None") -> "Refusal":
        """Makes the refusal of ``found``, twice as long as the one before it of the same files."""
        seconds = RETRY_SECONDS
        if before and before.stamp == found:
            seconds = min(2 * before.seconds, LONGEST_RETRY)
        return cls(found, seconds, time.monotonic() + seconds)


@dataclasses.dataclass(eq=False)
class Slot:
    """A directory, and the model of it that is served.

    name:     The name of the model.
    path:     The directory.
    current:  The version that is served.
    is_ready: Whether its programs are compiled.
    problem:  The reason why the present content of the directory is not served, or None.
    refused:  The refusal of that content.
    """

    name: str
    path: pathlib.Path
    current: Version
    is_ready: bool = False
    problem: str | None = None
    refused: Refusal | None = None

    def refuse(self, found: Stamp | None, error: Exception) -> None:
        """Notes that the present content of the directory cannot be used."""
        self.problem = _as_text(str(error) or type(error).__name__)
        self.refused = Refusal.of(found, self.refused)

    @property
    def state(self) -> str:
        """The end of a sentence about the model, which anybody may read."""
        progress = self.current.served.progress
        if self.is_ready:
            return "is ready"
        if self.refused:
            return "cannot be used now"
        if progress.started is None:
            return "waits for the models before it to be compiled"
        return f"is being compiled ({progress.compiled} of {progress.programs} programs)"

    @property
    def retry_after(self) -> int:
        """The whole seconds after which it is worth while to ask a model again."""
        left = self.current.served.progress.seconds_left
        if self.refused:
            left = self.refused.until - time.monotonic()
        return math.ceil(min(max(left or SOONEST, 1), LATEST))

    def is_due(self, found: Stamp) -> bool:
        """Says whether ``found`` is to be tried: neither served nor refused a short time ago."""
        if self.refused and self.refused.stamp == found:
            return time.monotonic() >= self.refused.until
        return found != self.current.stamp or not self.is_ready


class Models:
    """All models. Any thread may read, because the version of a slot is replaced as a whole."""

    def __init__(self, paths: Sequence[str], limits: Limits):
        """Loads all models, without compiling them.

        Raises:
            UserError: no directory is given, or one holds no model.
        """
        if not paths:
            raise UserError("--workdir=DIR, a finished run or an exported model, is missing")
        self._limits = limits
        self._stopped = threading.Event()
        self.reloads = counter("rearec_reloads_total", "Newer models taken, or not.", ("result",))
        self.slots: dict[str, Slot] = {}
        for path in map(pathlib.Path, paths):
            name = _unused(_as_text(path.absolute().name) or "model", self.slots)
            self.slots[name] = Slot(name, path, self._load(name, path))

    @property
    def default(self) -> Slot:
        """The first of the directories."""
        return next(iter(self.slots.values()))

    @property
    def are_ready(self) -> bool:
        """Says whether every program of every model is compiled."""
        return all(slot.is_ready for slot in self.slots.values())

    def find(self, name: str | None) -> Slot:
        """Returns the model of a name, None for the default; raises UserError if there is none."""
        if name is None:
            return self.default
        if name not in self.slots:
            raise UserError(f"no model is named {shown(name)}; there are {', '.join(self.slots)}")
        return self.slots[name]

    def start(self, seconds: float, say: Callable[[str], None]) -> list[threading.Thread]:
        """Compiles each model, and then looks for a newer one every ``seconds``, until ``stop``.

        Each has a thread of its own, which this returns: one that takes long, or hangs, keeps no
        other from getting ready. While it is quick, they are compiled one after the other.

        Args:
            seconds: the time between two looks; 0: none.
            say: prints a line.
        """
        threads: list[threading.Thread] = []
        before: threading.Event | None = None
        for slot in self.slots.values():
            compiled = threading.Event()
            arguments = (slot, before, compiled, seconds, say)
            threads.append(threading.Thread(target=self._tend, args=arguments, daemon=True))
            threads[-1].start()
            before = compiled
        return threads

    def compile(self, say: Callable[[str], None]) -> None:
        """Compiles all models; a failure is reported, and the rest done."""
        for thread in self.start(0, say):
            thread.join()

    def stop(self) -> None:
        """Ends the threads after what they are doing."""
        self._stopped.set()

    def _tend(
        self,
        slot: Slot,
        before: threading.Event | None,
        compiled: threading.Event,
        seconds: float,
        say: Callable[[str], None],
    ) -> None:
        """Compiles a model, after the one ``before``, and then watches its directory."""
        if before:
            before.wait(HEAD_START)
        if self._stopped.is_set():
            return
        self._compile(slot, say)
        compiled.set()
        gc.collect()
        gc.freeze()  # models and programs stay, so that no collection has to walk through them
        while seconds and not self._stopped.wait(seconds):
            self._look(slot, say)

    def _compile(self, slot: Slot, say: Callable[[str], None]) -> None:
        started = time.perf_counter()
        try:
            slot.current.served.warm_up()
        except Exception as error:  # such as too little memory; `_look` tries it again
            slot.refuse(slot.current.stamp, error)
            _log.exception("the model in %s cannot be used", slot.path)
            say(f"model {slot.name} cannot be used: {slot.problem}")
            return
        slot.is_ready = True
        say(f"model {slot.name} is ready after {time.perf_counter() - started:.1f} s")

    def _look(self, slot: Slot, say: Callable[[str], None]) -> None:
        found = stamp(slot.path)
        if slot.is_ready and slot.refused and slot.refused.stamp != found:
            slot.problem = slot.refused = None  # the refused files are gone
        if found is None or not slot.is_due(found):
            return
        if self._stopped.wait(0.2) or stamp(slot.path) != found:
            return  # it is still being written: it waits for the next look
        try:
            version = self._load(slot.name, slot.path)
            version.served.warm_up()
        except Exception as error:  # whatever is wrong with it, the model in use stays
            slot.refuse(found, error)
            self.reloads.labels("refused").inc()
            if not isinstance(error, UserError):
                _log.exception("the new model in %s cannot be used", slot.path)
            say(f"model {slot.name} stays as it was: {slot.problem}")
            return
        slot.current, slot.problem, slot.refused = version, None, None
        slot.is_ready = True
        self.reloads.labels("taken").inc()
        say(f"model {slot.name} is replaced by what {slot.path} holds now")

    def _load(self, name: str, path: pathlib.Path) -> Version:
        found = stamp(path)  # taken before the reading, so that a change meanwhile is noticed
        # A link is resolved once, so that all files are of one version wherever it points next.
        recommender = model_directory.load(path.resolve() if path.exists() else path)
        served = serve(name, recommender, self._limits)
        return Version(served, Search(recommender), found)


def _as_text(name: str) -> str:
    """Returns the name with "?" for bytes that are no text, which JSON cannot hold."""
    return name.encode(errors="replace").decode()


def _unused(name: str, taken: dict[str, Slot]) -> str:
    """Returns the name, with a number where it is taken."""
    number, unused = 2, name
    while unused in taken:
        number, unused = number + 1, f"{name}-{number}"
    return unused
