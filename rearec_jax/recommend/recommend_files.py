"""Recommends for a file of users and writes a file of lists, in bounded memory (--mode=recommend).

Finished parts are kept beside the output until all are done, so that a run that was stopped
continues with the same command.
"""

from collections.abc import Iterator
import dataclasses
import hashlib
import json
import os
from pathlib import Path
import shutil
import time

import numpy as np
import polars as pl
from rich.console import Console

from rearec_jax.data.own_files import by_user, cells, paths, tables, user_rows
from rearec_jax.data.own_files.user_rows import Columns, Input, Piece
from rearec_jax.errors import UserError
from rearec_jax.recommend.histories import dense_set, of_ids
from rearec_jax.recommend.items import Items
from rearec_jax.recommend.recommender import Options, Recommender
from rearec_jax.recommend.results import MODEL, POPULARITY, Ranked
from rearec_jax.run import lock
from rearec_jax.run.files import expanded, save_array, write_whole
from rearec_jax.run.progress import Progress

FORMAT = 3  # raise it whenever parts of the same request would be cut or filled otherwise
OUTPUTS = (".parquet", ".csv")
WRONG_SHARE = 0.1
_AT_ONCE = 1 << 24  # users whose hashes are compared at once
SCHEMA = {
    "user_id": pl.String,
    "rank": pl.Int32,
    "item_id": pl.String,
    "score": pl.Float32,
    "by": pl.String,
}


@dataclasses.dataclass(frozen=True)
class Request:
    """The request of the command line.

    input:        The file of users.
    output:       The file to write.
    columns:      The names of the input's columns.
    k:            The number of items of a list.
    steps:        The number of reasoning steps; -1: as many as in training.
    exclude_seen: Whether the items of a user's history are left out.
    exclude:      The file of the ids that are left out for all users; "": none.
    candidates:   The file of the only ids to choose from; "": all.
    wrong_share:  The share of wrong rows in the input above which nothing is written.
    """

    input: str
    output: str
    columns: Columns
    k: int = 10
    steps: int = -1
    exclude_seen: bool = True
    exclude: str = ""
    candidates: str = ""
    wrong_share: float = WRONG_SHARE


@dataclasses.dataclass(frozen=True)
class Counts:
    """The counts for the lines at the end.

    users:    The lists.
    fallback: The users without a known item.
    items:    The ids in histories.
    unknown:  Those of them that no item has.
    wrong:    The rows of the input that are left out.
    repeated: The users that have several rows in a file of histories, and as many lists.
    """

    users: int = 0
    fallback: int = 0
    items: int = 0
    unknown: int = 0
    wrong: int = 0
    repeated: int = 0


def recommend_file(
    recommender: Recommender, request: Request, model: str, console: Console | None = None
) -> Counts:
    """Writes ``request.output``: one row per recommended item (user_id, rank, item_id, score, by).

    Wrong rows of the input are left out and listed in <output>.errors.csv. Where too many are
    wrong, or no history holds a known item, that file is all that is written, and finished parts
    are kept.

    Args:
        recommender: the model.
        request: the request.
        model: the identity of the model; the parts of another one are not continued.
        console: the console that shows progress.

    Raises:
        UserError: an option, the input or the output is wrong.
    """
    paths.require_no_url(request.output, "--output")
    source = user_rows.open_input(request.input, request.columns)
    target = Path(expanded(request.output))
    if target.suffix not in OUTPUTS:
        raise UserError(f"--output={target}: its name must end in {' or '.join(OUTPUTS)}")
    if os.path.isdir(target):
        raise UserError(f"--output={target} is a directory; name a file")
    if target.resolve() == paths.on_disk(source.path).resolve():
        raise UserError(f"--output={target} is the input; choose another file")
    options = _options(recommender, request)
    recommender.rank(of_ids([], recommender.items), options)  # checks them before any work
    progress = _Progress(console or Console())
    parts = target.with_name(f"{target.name}.parts")
    try:
        parts.mkdir(parents=True, exist_ok=True)
        with lock.alone(parts, "--output"):
            _begin(parts, paths.on_disk(source.path), request, model)
            if source.is_by_user:
                rows = user_rows.pieces(source)
            else:
                rows = by_user.users(source, parts / "users", progress.reading)
            counts = _write_parts(recommender, options, rows, parts, progress)
            errors = _write_errors(parts, target)
            _require_lists(counts, source, request, errors)
            _join(parts, target)
            shutil.rmtree(parts, ignore_errors=True)
    except OSError as error:
        raise UserError(
            f"cannot write {target}: {error.strerror or error}; make room and permission there, or"
            " choose another --output"
        ) from error
    return counts


def _options(recommender: Recommender, request: Request) -> Options:
    """Checks the request's options and reads its files of ids."""

    def ids(path: str, option: str) -> np.ndarray | None:
        if not path:
            return None
        lines = tables.read_lines(paths.existing_file(path, f"--{option}"))
        given = cells.id_texts(lines.str.strip_chars_end("\r")).drop_nulls()
        return dense_set(given.to_list(), recommender.items, path)

    if not 0 <= request.wrong_share <= 1:
        raise UserError(f"--wrong_share={request.wrong_share} must lie between 0 and 1")
    if request.steps < -1:
        raise UserError(f"--steps={request.steps} must be 0 or more, or -1: as trained")
    return Options(
        k=request.k,
        steps=None if request.steps < 0 else request.steps,
        exclude_seen=request.exclude_seen,
        exclude=ids(request.exclude, "exclude"),
        candidates=ids(request.candidates, "candidates"),
    )


def _begin(parts: Path, source: Path, request: Request, model: str) -> None:
    """Keeps the parts of the same request, and removes those of any other."""
    status = source.stat()
    asked = dataclasses.asdict(dataclasses.replace(request, wrong_share=0.0))  # changes no part
    work = [FORMAT, asked, model, status.st_size, status.st_mtime_ns, pl.__version__]
    work += [_digest(path) for path in (request.exclude, request.candidates)]
    about = parts / "about.json"
    text = json.dumps(work)
    if about.exists() and about.read_text() == text:
        return
    for old in parts.iterdir():
        if old.is_dir():
            shutil.rmtree(old)
        elif old.name != lock.FILE:
            old.unlink()
    write_whole(about, lambda file: file.write(text.encode()))


def _digest(path: str) -> str:
    if not path:
        return ""
    return hashlib.sha256(paths.on_disk(Path(expanded(path))).read_bytes()).hexdigest()


def _write_parts(
    recommender: Recommender,
    options: Options,
    rows: Iterator[Piece],
    parts: Path,
    progress: "_Progress",
) -> Counts:
    """Writes a Parquet file and a record for each piece, unless they are there; sums the counts."""
    total = Counts()
    for number, piece in enumerate(rows):
        record = parts / f"{number:08}.json"
        if not record.exists():
            lists, counts = _lists(recommender, options, piece)
            write_whole(parts / f"{number:08}.parquet", lists.write_parquet)
            hashes = pl.Series(piece.users, dtype=pl.String).hash().to_numpy()
            save_array(parts / f"{number:08}.npy", hashes)
            text = json.dumps({"counts": dataclasses.asdict(counts), "wrong": piece.wrong})
            write_whole(record, lambda file, text=text: file.write(text.encode()))
            progress.computed += len(piece.users)
        counts = json.loads(record.read_text())["counts"]
        both = {name: value + counts[name] for name, value in dataclasses.asdict(total).items()}
        total = Counts(**both)
        progress.show(total)
    progress.show(total)
    progress.catch_up()
    return dataclasses.replace(total, repeated=_repeated(parts, total.users))


def _repeated(parts: Path, users: int) -> int:
    """Counts the users that occur more than once, some of them at a time."""
    rounds, repeated = 1 + users // _AT_ONCE, 0
    for number in range(rounds):
        chosen = [np.zeros(0, np.uint64)]
        for hashes in map(np.load, parts.glob("*.npy")):
            chosen.append(hashes[hashes % np.uint64(rounds) == number])
        _, counts = np.unique(np.concatenate(chosen), return_counts=True)
        repeated += int((counts > 1).sum())
    return repeated


def _lists(recommender: Recommender, options: Options, piece: Piece) -> tuple[pl.DataFrame, Counts]:
    """Returns the rows of the output for the users of a piece, and their counts."""
    histories = of_ids(piece.values, recommender.items)
    ranked = recommender.rank(histories, options)
    frame = frame_of(ranked, recommender.items, pl.Series(piece.users, dtype=pl.String))
    counts = Counts(
        users=len(piece.users),
        fallback=int(ranked.by_popularity.sum()),
        items=sum(map(len, piece.values)),
        unknown=sum(map(len, histories.unknown)),
        wrong=len(piece.wrong),
    )
    return frame, counts


def frame_of(ranked: Ranked, items: Items, users: pl.Series) -> pl.DataFrame:
    """Returns the lists of these users as a data frame of ``SCHEMA``, a row a listed item."""
    listed = ranked.items >= 0
    owner = np.nonzero(listed)[0]
    by = np.where(ranked.by_popularity, POPULARITY, MODEL)
    rank = np.broadcast_to(np.arange(1, ranked.items.shape[1] + 1), listed.shape)
    return pl.DataFrame(
        {
            "user_id": users.gather(owner),
            "rank": rank[listed],
            "item_id": items.ids.gather(ranked.items[listed]),
            "score": ranked.scores[listed],
            "by": pl.Series(by.tolist(), dtype=pl.String).gather(owner),
        }
    ).cast(SCHEMA)  # type: ignore[arg-type]


def _write_errors(parts: Path, target: Path) -> list[tuple[int, str]]:
    """Writes the wrong rows beside the output, where there are any, and returns them."""
    errors = target.with_name(f"{target.name}.errors.csv")
    wrong = sorted(
        tuple(one)
        for record in parts.glob("0*.json")
        for one in json.loads(record.read_text())["wrong"]
    )
    if wrong:
        schema = {"line": pl.Int64, "reason": pl.String}
        write_whole(errors, pl.DataFrame(wrong, schema=schema, orient="row").write_csv)
    else:
        errors.unlink(missing_ok=True)  # the file of an earlier run
    return wrong


def _require_lists(
    counts: Counts, source: Input, request: Request, wrong: list[tuple[int, str]]
) -> None:
    """Raises UserError where the input is not what was meant: most rows or ids fit nothing."""
    rows = counts.wrong + (counts.users if source.is_by_user else counts.items)
    if wrong and (not counts.users or counts.wrong > request.wrong_share * rows):
        line, reason = wrong[0]
        unit = "row" if source.header.form == cells.PARQUET else "line"
        leave_out = f", or raise --wrong_share={request.wrong_share:g}" if counts.users else ""
        raise UserError(
            f"{source.path}: {counts.wrong:,} of {rows:,} rows are wrong; correct them{leave_out}."
            f" {request.output}.errors.csv lists them, and nothing else was written; the first,"
            f" {unit} {line}: {reason}"
        )
    if counts.items and counts.unknown == counts.items:
        column = request.columns.items if source.is_by_user else request.columns.item
        raise UserError(
            f"{source.path}: none of the {counts.items:,} ids in column {column!r} is an item of"
            " the model, and nothing was written; are they the ids that it was trained on, and do"
            " blanks or commas part them?"
        )


def _join(parts: Path, target: Path) -> None:
    """Writes all parts as one file, some rows at a time."""
    lists = [pl.scan_parquet(part) for part in sorted(parts.glob("*.parquet"))]
    whole = pl.concat([pl.LazyFrame(schema=SCHEMA), *lists])
    write_whole(target, whole.sink_parquet if target.suffix == ".parquet" else whole.sink_csv)


class _Progress(Progress):
    """A display of the interactions read, then of the users done; how many there are is unknown."""

    has_bar = False

    def __init__(self, console: Console):
        super().__init__("", console=console)
        self._started, self._reading = time.monotonic(), False
        self.computed = 0

    def reading(self, rows: int) -> None:
        """Shows the rows read so far, if it is time."""
        self._reading = True
        self.update(rows)

    def show(self, counts: Counts) -> None:
        """Shows the users done so far, if it is time."""
        self._reading = False
        self.update(counts.users)

    def line(self) -> str:
        if self._reading:
            return f"{self.done:,} interactions read"
        rate = self.computed / max(1e-9, time.monotonic() - self._started)
        speed = f", {rate:,.0f} users/s" if self.computed else ""
        return f"{self.done:,} users{speed}"
