"""How far a file is: a bar in a terminal, a plain line every ten seconds elsewhere."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

LINE_SECONDS = 10.0
_MB = 1_000_000


class ByteProgress:
    """Bytes done of one file. Quick work shows nothing: the first line comes after ten seconds."""

    def __init__(self, what: str, total: int | None, done: int = 0, console: Console | None = None):
        """``total``: bytes, None where unknown; ``done``: those there already."""
        self._console = console or Console(stderr=True)
        self._what = what
        self._total = total
        self._done = done
        self._next_line = time.monotonic() + LINE_SECONDS
        self._bar: Progress | None = None

    def __enter__(self) -> "ByteProgress":
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=20),
                DownloadColumn(),
                TransferSpeedColumn(),
                console=self._console,
                transient=True,
            )
            self._task = self._bar.add_task(self._what, total=self._total, completed=self._done)
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def advance(self, count: int) -> None:
        """``count`` more bytes are done."""
        self._done += count
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + LINE_SECONDS
            of = f" of {self._total / _MB:,.0f}" if self._total else ""
            line = f"{self._what}: {self._done / _MB:,.0f}{of} MB"
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
