"""What a server accepts: no request takes more than its share, nor all of them too much."""

import dataclasses

SHARED = 256  # excluded items of a history that is computed with others


@dataclasses.dataclass(frozen=True)
class Limits:
    """The largest that is accepted; what exceeds it is refused with a sentence.

    body_bytes: of a request.
    histories:  of a request.
    history:    items of a history; the model sees its last `Engine.max_length`.
    ids:        items of `exclude`, and of `candidates`.
    k:          items of a list.
    waiting:    histories in the queue; one more is refused (429).
    users:      histories computed at once, about.
    seconds:    from the first byte of a request to its answer (504).
    """

    body_bytes: int = 2**20
    histories: int = 128
    history: int = 1000
    ids: int = 1000
    k: int = 100
    waiting: int = 1024
    users: int = 128
    seconds: float = 10.0

    @property
    def excluded(self) -> int:
        """The most items that may be excluded from a list."""
        return self.history + self.ids
