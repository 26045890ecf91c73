"""Defines the exceptions whose messages are written for users, not for programmers."""


class UserError(ValueError):
    """A mistake in a file, an option or the environment.

    The message is one sentence, with more lines only to list things. It says what is wrong, where
    (file, line, option), and what to do. ``main`` prints it without a traceback and exits with code
    2.
    """


class DivergedError(UserError):
    """A training whose loss or parameters are no longer finite, because of its options."""
