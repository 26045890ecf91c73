"""The front door: starts the mode of the program that the command line names.

Exit codes: 0 done; 2 a mistake of the user's, said in one sentence; 130 stopped by Ctrl-C or
SIGTERM (within 20 seconds), all saved that can be, the same command continues; 1 anything else,
with a traceback.
"""

import signal
import sys
import time

from rearec_jax.errors import UserError
from rearec_jax.ops.huge_pages import restart_with_huge_pages
from rearec_jax.run.interruption import deadline

MISTAKE, INTERRUPTED = 2, 130
GRACE_SECONDS = 15.0  # from SIGTERM to the end, also where an update or a save takes longer


def run(started: float) -> None:
    """Runs the program; ``started`` is the `time.perf_counter()` that its start-up counts from."""
    from absl import flags

    from rearec_jax.commands import given, start  # JAX and more: seconds, and only after a restart

    for module in (start, given, *start.MODES.values()):
        flags.adopt_module_key_flags(module)  # so that --help lists them
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)  # raises KeyboardInterrupt
    try:
        with deadline(GRACE_SECONDS, INTERRUPTED):
            start.run(started)
    except UserError as error:
        sys.exit(_say(f"error: {error}", MISTAKE))
    except KeyboardInterrupt:
        sys.exit(_say("interrupted; run the same command again to continue", INTERRUPTED))


def _say(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    return code


if __name__ == "__main__":
    restart_with_huge_pages()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # during the imports: end, without a traceback
    run(started=time.perf_counter())
