"""The one exception that a person, not a programmer, is meant to read."""


class UserError(ValueError):
    """A mistake in a file, an option or the environment.

    The message is one sentence (more lines only to list things): what is wrong, where (file, line,
    option), what to do. ``main`` prints it without a traceback and exits with code 2.
    """


class DivergedError(UserError):
    """A training whose loss or parameters are no numbers any more: its options are to blame."""
