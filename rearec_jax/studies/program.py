"""The parser and the messages of the studies with command lines: the grid and the plan."""

import argparse
import sys
from typing import NoReturn

from rearec_jax.errors import UserError


class Parser(argparse.ArgumentParser):
    """A parser of flags, which may not be abbreviated; its error is one sentence."""

    def __init__(self, prog: str, description: str, epilog: str):
        super().__init__(prog, description=description, epilog=epilog, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"command line: {message}; --help lists the flags")


def note(line: str) -> None:
    """Prints a line to standard error."""
    print(line, file=sys.stderr)
