"""Bytes of a file: a bar on a terminal, seldom a line elsewhere."""

import io

import pytest
from rich.console import Console

from rearec_jax.run import byte_progress
from rearec_jax.run.byte_progress import ByteProgress


def shown(total, done=0, terminal=False):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=100)
    with ByteProgress("file.gz", total, done, console) as progress:
        progress.advance(2_000_000)
        progress.advance(1_000_000)
    return screen.getvalue()


def test_quick_work_is_silent_outside_a_terminal():
    assert shown(3_000_000) == ""


@pytest.mark.parametrize(
    ("total", "lines"),
    [(5_000_000, ["3 of 5 MB", "4 of 5 MB"]), (None, ["3 MB", "4 MB"])],
)
def test_slow_work_says_how_far_it_is(monkeypatch, total, lines):
    monkeypatch.setattr(byte_progress, "LINE_SECONDS", 0.0)
    assert shown(total, done=1_000_000).splitlines() == [f"file.gz: {line}" for line in lines]


def test_a_terminal_gets_a_bar():
    assert "file.gz" in shown(5_000_000, terminal=True)
