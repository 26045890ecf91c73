"""--mode=encode_items: writes the vectors of the items' text to a file."""

import pathlib
import time

import numpy as np
import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rearec_jax import config as config_lib
from rearec_jax.commands.given import Given, say
from rearec_jax.config import Config
from rearec_jax.data.item_vectors import vector_files
from rearec_jax.data.item_vectors.vectors import ItemVectors, item_vectors
from rearec_jax.data.prepare import prepare
from rearec_jax.run.workdir import explained

HELP = "write the vectors of the items' text to --workdir"

FILE = "item_vectors.parquet"


def run(given: Given) -> None:
    """Writes the vectors of the items' text that --config names to --workdir."""
    encode_run(given.config, given.workdir)


def encode_run(config: Config, directory: str | None) -> pathlib.Path:
    """Writes the vectors of all items that have one to ``directory``/item_vectors.parquet.

    The file has the raw ids in the column ``data.text_id_column``; ``text.vectors`` reads it.

    Args:
        config: the options.
        directory: the directory; None for runs/<data>-items-<hash>.

    Returns:
        The path of the file.

    Raises:
        UserError: options or data are wrong, or the file cannot be written.
    """
    started = time.perf_counter()
    data = prepare(config.data)
    found = item_vectors(config, data)
    default = f"runs/{config.data.name}-items-{config_lib.fingerprint(config)[:6]}"
    path = pathlib.Path(directory or default) / FILE
    has_text = found.has_text
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        ids = data.item_ids.filter(pl.Series(has_text))
        column = config.data.text_id_column
        vector_files.write_vectors(path, column, ids, found.vectors[has_text])
    _show(config, found, path, time.perf_counter() - started)
    return path


def _show(config: Config, found: ItemVectors, path: pathlib.Path, seconds: float) -> None:
    table = Table(
        box=box.SIMPLE_HEAD, title=Text(config.data.name), title_justify="left", pad_edge=False
    )
    for heading in ("items", "with text", "width", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    items, width = found.vectors.shape
    with_text = int(np.count_nonzero(found.has_text))
    table.add_row(f"{items:,}", f"{with_text:,}", str(width), f"{seconds:.1f}")
    Console().print(table)
    say(f"written: {path}")
    say(f"train with them: --config.text.vectors={path}")
