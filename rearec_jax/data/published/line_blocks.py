"""Reads large text files, many lines at a time, and counts the lines that cannot be used."""

from collections.abc import Iterator
import contextlib
import dataclasses
import gzip
import os
from pathlib import Path
from typing import IO, cast
import zlib

from rearec_jax.errors import UserError
from rearec_jax.run.progress import ByteProgress

BLOCK = 64 << 20  # bytes in memory at once


@dataclasses.dataclass
class Malformed:
    """The lines of one file that could not be used.

    path:  the file.
    lines: the number of all lines that are not blank.
    count: the number of malformed lines.
    first: the first of them, as 'line 12: reason'.
    """

    path: Path
    lines: int = 0
    count: int = 0
    first: str = ""

    def add(self, line: int, reason: str, count: int = 1) -> None:
        """Adds ``count`` malformed lines, of which ``line`` is the first."""
        self.count += count
        self.first = self.first or f"line {line}: {reason}"

    def check(self, most: float) -> None:
        """Checks the share of malformed lines.

        Raises:
            UserError: the file has no lines, or more than the share ``most`` of them are malformed.
        """
        if not self.lines:
            raise UserError(f"{self.path} holds no data; get the file again")
        if self.count > most * self.lines:
            raise UserError(
                f"{self.path}: {self}, more than data.malformed_share={most:g}; get the file again,"
                " or raise data.malformed_share to leave such lines out"
            )

    def __str__(self) -> str:
        first = f" (the first: {self.first})" if self.count else ""
        return f"{self.count:,} of {self.lines:,} lines malformed{first}"


def blocks(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yields the number of the first line, and about BLOCK bytes of whole lines, plain or .gz.

    Raises:
        UserError: the file cannot be read, or its compression is damaged.
    """
    line = 1
    try:
        for text in _whole_lines(path):
            yield line, text
            line += text.count(b"\n")
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(
            f"{path} cannot be read beyond line {line} ({error}); get the file again"
        ) from error


def _whole_lines(path: Path) -> Iterator[bytes]:
    with contextlib.ExitStack() as stack:
        raw = stack.enter_context(path.open("rb"))
        progress = stack.enter_context(ByteProgress(path.name, os.path.getsize(path)))
        is_gzip = path.suffix.lower() == ".gz"
        file = cast(IO[bytes], stack.enter_context(gzip.open(raw)) if is_gzip else raw)
        rest, done = [], 0
        while block := file.read(BLOCK):
            progress.advance(raw.tell() - done)
            done = raw.tell()
            end = block.rfind(b"\n") + 1
            if end:
                yield b"".join([*rest, block[:end]])
                rest = []
            if block[end:]:
                rest.append(block[end:])
        if rest:
            yield b"".join(rest)
