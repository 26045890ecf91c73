"""Takes interactions as people have them in Python: a data frame of any kind, or a path."""

from collections.abc import Mapping
import dataclasses
import hashlib
import os
from pathlib import Path
from typing import Any

import polars as pl

from rearec_jax.data.own_files import cells, columns, paths
from rearec_jax.data.parquet import DAMAGED
from rearec_jax.errors import UserError
from rearec_jax.run import files
from rearec_jax.run.workdir import Workdir, explained

TABLE = "interactions.parquet"  # in the work directory: the columns that a run reads of a frame
_DATA = "give a data frame of pandas or Polars, an Arrow table, or the path of a file"


@dataclasses.dataclass(frozen=True)
class Table:
    """The columns of a data frame that a run is trained on."""

    frame: pl.DataFrame

    @property
    def digest(self) -> str:
        """A number in hexadecimal digits that changes with the rows."""
        return hashlib.sha256(self.frame.hash_rows().to_numpy().tobytes()).hexdigest()[:16]

    def keep(self, workdir: Workdir) -> None:
        """Writes the table into the work directory, from which every later command reads it.

        Raises:
            UserError: another one is there, or it cannot be written.
        """
        path = workdir.path / TABLE
        try:
            same = path.exists() and pl.read_parquet(path).equals(self.frame)
        except DAMAGED:
            same = False
        if path.exists() and not same:
            raise UserError(
                f"{workdir.path} holds a run with other data; choose another workdir for this frame"
            )
        if not same:
            with explained(path):
                files.write_whole(path, lambda file: self.frame.write_parquet(file))


def place(workdir: str) -> str:
    """Returns the absolute path of the table in a work directory."""
    return os.path.join(os.path.abspath(workdir), TABLE)


def options_of_path(data: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options `data.*` of files: their path, and what kind they are."""
    path = os.fspath(data)
    if options["source"] != "demo":
        return {"path": path}
    # The default: the file says what it is.
    return {
        "path": path,
        "source": "recbole" if paths.suffix(Path(path)) == ".inter" else "table",
    }


def options_of_frame(data: Any, options: Mapping[str, Any]) -> tuple[dict[str, Any], Table]:
    """Returns the options `data.*` of a data frame, and the columns that they name.

    Raises:
        UserError: it is no data frame, has no rows, or no column for users, items or times.
    """
    if isinstance(data, pl.LazyFrame):
        data = data.collect()
    names = getattr(data, "column_names", None)  # of Arrow; the others have `columns`
    names = list(getattr(data, "columns", ()) if names is None else names)
    if not names or not hasattr(data, "__arrow_c_stream__"):
        raise UserError(f"the data are a {type(data).__name__}; {_DATA}")
    found = columns.of_options(names, options, "the frame")
    wanted = list(found.values())
    split = options["split"] == "given" and options["split_column"]
    for name in filter(None, (options["rating_column"], split)):
        if name not in names:
            raise UserError(f"the frame has no column {name!r}; there are {', '.join(names)}")
        wanted.append(name)
    wanted = list(dict.fromkeys(wanted))
    frame = _read(data.select(wanted) if hasattr(data, "select") else data[wanted])
    if frame.is_empty():
        raise UserError("the frame has no rows")
    return {"source": "table", **found}, Table(frame)


def _read(data: Any) -> pl.DataFrame:
    """Returns a data frame as one of Polars that Parquet can hold."""
    try:
        frame = pl.DataFrame(data)
    except Exception as error:  # of Arrow and Polars, and whatever a column's own type raises
        raise UserError(
            f"a column of the frame cannot be read ({cells.first_line(error)}); make all of its"
            " values text, or all numbers"
        ) from error
    for name, kind in frame.schema.items():
        if kind == pl.Object:
            raise UserError(f"column {name!r} of the frame holds Python objects; make them text")
    return frame.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String)).rechunk()
