"""Numbers as a reader wants them."""

import re
from typing import Any

MISSING = "–"


def share(value: float | None) -> str:
    """.0413 of a metric between 0 and 1."""
    return MISSING if value is None else f"{value:.4f}".removeprefix("0")


def percent(value: float | None) -> str:
    """12.3 % of .123."""
    return MISSING if value is None else f"{value:.1%}".replace("%", " %")


def count(value: int | None) -> str:
    """12,101."""
    return MISSING if value is None else f"{value:,}"


def duration(seconds: float | None) -> str:
    """'42 s', '6 min 10 s' or '3 h 20 min'."""
    if seconds is None:
        return MISSING
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def option(value: Any) -> str:
    """As one would type it; an empty one is said."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "(none)"
    return "(none)" if value in ("", None) else str(value)


def file_name(*words: str) -> str:
    """Letters, digits, - and _ of the words: a name that every file system takes."""
    return "-".join(filter(None, (re.sub(r"[^A-Za-z0-9]+", "_", w).strip("_") for w in words)))
