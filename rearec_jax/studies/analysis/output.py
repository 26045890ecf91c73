"""Writes the directory ``analysis/`` of a run, which appears whole or stays as it was."""

from collections.abc import Mapping
import json
import pathlib
from typing import Any

import polars as pl

from rearec_jax.run.workdir import replaced

TABLES, STORIES = "tables.json", "stories.json"


def write(
    directory: pathlib.Path,
    tables: Mapping[str, Any],
    stories: list[dict[str, Any]],
    frames: Mapping[str, pl.DataFrame],
) -> None:
    """Writes an analysis in place of what ``directory`` holds, each frame as <name>.parquet.

    Raises:
        UserError: it cannot be written; the earlier analysis stays.
    """
    with replaced(directory) as new:
        (new / TABLES).write_text(json.dumps(tables, indent=1) + "\n", encoding="utf-8")
        text = json.dumps(stories, indent=1, ensure_ascii=False) + "\n"
        (new / STORIES).write_text(text, encoding="utf-8")
        for name, frame in frames.items():
            frame.write_parquet(new / f"{name}.parquet")
