"""Formats numbers and other values for readers."""

import re
from typing import Any

from rearec_jax.studies.terminal import fraction

MISSING = "–"


def share(value: float | None) -> str:
    """Formats a metric between 0 and 1: .0413."""
    return MISSING if value is None else fraction(value)


def percent(value: float) -> str:
    """Formats a share: 12.3 % of .123."""
    return f"{value:.1%}".replace("%", " %")


def count(value: int | None) -> str:
    """Formats a count: 12,101."""
    return MISSING if value is None else f"{value:,}"


def duration(seconds: float | None) -> str:
    """Formats seconds: '42 s', '6 min 10 s' or '3 h 20 min'."""
    if seconds is None:
        return MISSING
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def option(value: Any) -> str:
    """Formats the value of an option as one types it; an empty one is '(none)'."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "(none)"
    return "(none)" if value in ("", None) else str(value)


def file_name(*words: str) -> str:
    """Joins words to a name of letters, digits, - and _, which every file system takes."""
    return "-".join(filter(None, (re.sub(r"[^A-Za-z0-9]+", "_", w).strip("_") for w in words)))
