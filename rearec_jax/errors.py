"""Defines the exceptions whose messages are written for users, not for programmers."""

import reprlib
from typing import Any

_short = reprlib.Repr()
_short.maxstring = _short.maxlong = _short.maxother = 100


class UserError(ValueError):
    """A mistake in a file, an option or the environment.

    The message is one sentence, with more lines only to list things. It says what is wrong, where
    (file, line, option), and what to do. ``main`` prints it without a traceback and exits with code
    2.
    """


class DivergedError(UserError):
    """A training whose loss or parameters are no longer finite, because of its options."""


def shown(value: Any) -> str:
    """Returns the name of a value of a user in messages: its repr, the middle left out if long."""
    try:
        return _short.repr(value)
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        return "a number of thousands of digits"
