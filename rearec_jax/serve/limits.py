"""The limits of a server, for each request and for all that wait."""

import dataclasses

MOST_EXCLUDED = 256  # excluded items of a history in a batch; one with more is computed by itself


@dataclasses.dataclass(frozen=True)
class Limits:
    """The largest sizes that are accepted; a request beyond them is refused with a sentence.

    body_bytes:     The bytes of a body.
    histories:      The histories of a request.
    history:        The items of a history; the model sees the last `Engine.seen` of them.
    ids:            The items of `exclude`, and those of `candidates`.
    k:              The items of a list.
    waiting:        The histories in a queue; a request beyond it is refused (429).
    users:          The histories of a batch, about.
    seconds:        The time from the headers of a request to its body (408) and answer (504).
    header_seconds: The time for the headers to arrive (408).
    connections:    The open connections; one more ends the one that waits longest.
    """

    body_bytes: int = 2**20
    histories: int = 128
    history: int = 1000
    ids: int = 1000
    k: int = 100
    waiting: int = 1024
    users: int = 128
    seconds: float = 10.0
    header_seconds: float = 10.0
    connections: int = 2048

    @property
    def excluded(self) -> int:
        """The largest number of items that may be excluded from a list."""
        return self.history + self.ids
