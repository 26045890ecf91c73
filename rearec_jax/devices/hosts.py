"""Processes, one on each host, that run the same program in step (multi-controller JAX).

Every process makes the same calls in the same order, and decisions that depend on a signal, the
clock or a file are agreed on first. Only process 0 writes files and lines on the screen. With one
process nothing here costs time.
"""

from collections.abc import Callable, Sequence
import os
import signal
import sys
from typing import TypeVar

import jax
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int32
import numpy as np

from rearec_jax.errors import UserError

T = TypeVar("T")
CONNECT_SECONDS = 300
TEXT_BYTES = 400  # the most of a text that a process sends to the others
LEAVE_SECONDS = 20  # the longest that a process which ends waits for the others
HELP = (
    "several hosts need --coordinator=HOST:PORT (the same for all: where process 0 listens),"
    " --processes=N and --process=I (0 to N-1); on a Cloud TPU or in Slurm --coordinator=auto"
)


def start(coordinator: str | None, processes: int | None, process: int | None) -> None:
    """Joins the other processes; it must be called before anything touches a device.

    Without arguments there is one process, except among the tasks of a Slurm step, which find each
    other.

    Raises:
        UserError: The arguments do not fit together, or the others cannot be reached.
    """
    if coordinator is None and int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        coordinator = "auto"
    if coordinator is None:
        if processes is not None or process is not None:
            raise UserError(f"--processes and --process need --coordinator; {HELP}")
        return
    if coordinator == "auto":
        _join("auto", None, None, None)
    else:
        _check(coordinator, processes, process)
        _join(coordinator, coordinator, processes, process)
    if not is_first():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (until the end)


def is_first() -> bool:
    """Says whether this is process 0, which writes the files and the lines on the screen."""
    return jax.process_index() == 0


def first_then_others(work: Callable[[], T]) -> T:
    """Calls ``work`` in process 0 and then in the others, which find on disk what it wrote.

    All return at the same time, so that none changes what another still reads.

    Raises:
        UserError: It failed in another process, which says why.
    """
    if jax.process_count() == 1:
        return work()
    if is_first():
        try:
            result = work()
        except BaseException:
            _agreed_with_first(False)
            raise
        _agreed_with_first(True)
    else:
        if not _agreed_with_first(True):
            raise UserError("process 0 stopped; what it said holds for all")
        try:
            result = work()
        except BaseException:
            any_host([True])
            raise
    if any_host([False])[0]:
        raise UserError("another process stopped; what it said holds for all")
    return result


def any_host(flags: Sequence[bool]) -> list[bool]:
    """Returns for each flag whether any process has set it; waits for all processes."""
    if jax.process_count() == 1:
        return list(flags)
    every = multihost_utils.process_allgather(np.array(flags, np.int32))
    return [bool(flag) for flag in np.asarray(every).reshape(-1, len(flags)).max(axis=0)]


def any_text(text: str) -> str:
    """Returns the first text that is not empty, cut if it is long; waits for all processes."""
    if jax.process_count() == 1:
        return text
    own = text.encode()[:TEXT_BYTES].ljust(TEXT_BYTES, b"\0")
    every = multihost_utils.process_allgather(np.frombuffer(own, np.uint8))
    texts = (row.tobytes().rstrip(b"\0") for row in np.asarray(every).reshape(-1, TEXT_BYTES))
    return next(filter(None, texts), b"").decode(errors="ignore")


class Ballot:
    """A vote like `any_host` that never waits for a device: its result comes one call later.

    All processes get the same result at the same call, so that they stop or save after the same
    update. With one process the result comes at once.
    """

    def __init__(self) -> None:
        self._pending: Int32[Array, "devices flags"] | None = None
        self._several = jax.process_count() > 1
        if self._several:
            mesh = Mesh(np.array(jax.devices()), ("device",))
            self._sharding = NamedSharding(mesh, PartitionSpec("device"))
            everywhere = NamedSharding(mesh, PartitionSpec())
            self._count = jax.jit(lambda votes: votes.max(axis=0), out_shardings=everywhere)

    def ask(self, flags: Sequence[bool]) -> list[bool]:
        """Casts the votes of this process; returns the result of the last call (at first False)."""
        if not self._several:
            return list(flags)
        votes = np.array([flags], np.int32)
        shape = len(jax.devices()), len(flags)
        asked = jax.make_array_from_callback(shape, self._sharding, lambda _: votes)
        answer, self._pending = self._pending, self._count(asked)
        return (
            [False] * len(flags) if answer is None else [bool(flag) for flag in np.asarray(answer)]
        )


def _check(coordinator: str, processes: int | None, process: int | None) -> None:
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdigit():
        raise UserError(f"--coordinator={coordinator} is not HOST:PORT; {HELP}")
    if processes is None or process is None:
        raise UserError(f"--coordinator={coordinator} alone is not enough; {HELP}")
    if not 0 <= process < processes:
        raise UserError(f"--process={process} must lie between 0 and --processes={processes} - 1")


def _join(name: str, address: str | None, processes: int | None, process: int | None) -> None:
    try:
        jax.distributed.initialize(
            address,
            processes,
            process,
            initialization_timeout=CONNECT_SECONDS,
            shutdown_timeout_seconds=LEAVE_SECONDS,
        )
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"--coordinator={name}: {reason}; {HELP}") from error
    # The coordination service has replaced the handlers of Python.
    for number in (signal.SIGINT, signal.SIGTERM):
        handler = signal.getsignal(number)
        if handler is not None:
            signal.signal(number, handler)


def _agreed_with_first(good: bool) -> bool:
    """Returns the value of process 0, for which all processes wait."""
    return bool(multihost_utils.broadcast_one_to_all(np.int32(good)))
