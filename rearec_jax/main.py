"""The front door: starts the mode of the program that the command line names.

Exit codes: 0 done; 2 a mistake of the user's, said in one sentence; 130 stopped by Ctrl-C, SIGTERM
or SIGHUP, all saved that can be, the same command continues; 1 anything else, with a traceback.
"""

import sys
import time
from typing import NoReturn

from rearec_jax.ops.huge_pages import restart_with_huge_pages
from rearec_jax.run import front_door


def run(started: float) -> None:
    """Runs the program; ``started`` is the `time.perf_counter()` that its start-up counts from.

    Raises:
        SystemExit: always, with the exit code.
    """
    sys.exit(front_door.exit_code(lambda: _start(started)))


def _start(started: float) -> None:
    from absl import flags

    from rearec_jax.commands import given, start  # JAX and more: seconds, and only after a restart

    for module in (start, given, *start.MODES.values()):
        flags.adopt_module_key_flags(module)  # so that --help lists them
    start.run(started)


def command() -> NoReturn:
    """Runs the program as a process of its own: ``python -m rearec_jax.main``, and ``rearec``."""
    front_door.open_door()
    restart_with_huge_pages()
    began = time.perf_counter()
    front_door.run_process(lambda: _start(began))


if __name__ == "__main__":
    command()
