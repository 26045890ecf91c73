"""What the studies that are programs of their own share: the grid and the capacity plan."""

import argparse
from collections.abc import Callable, Sequence
import sys
from typing import NoReturn

from rearec_jax.errors import UserError

MISTAKE, INTERRUPTED = 2, 130  # exit codes


class Parser(argparse.ArgumentParser):
    """A parser of flags, which may not be abbreviated; its error is one sentence."""

    def __init__(self, prog: str, description: str, epilog: str):
        super().__init__(prog, description=description, epilog=epilog, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"command line: {message}; --help lists the flags")


def run(main: Callable[[Sequence[str]], int], interrupted: str) -> NoReturn:
    """Ends the process with the exit code that ``main`` returns for the command line.

    A mistake of the user's becomes one sentence, and Ctrl-C becomes the sentence ``interrupted``.
    """
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as error:
        note(f"error: {error}")
        sys.exit(MISTAKE)
    except KeyboardInterrupt:
        note(interrupted)
        sys.exit(INTERRUPTED)


def note(line: str) -> None:
    """Prints a line to standard error."""
    print(line, file=sys.stderr)
