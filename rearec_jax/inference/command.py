"""Flags of --mode=recommend and --mode=export, and what they start."""

import hashlib
import pathlib

from absl import flags
from rich.console import Console

from rearec_jax.errors import UserError
from rearec_jax.interruption import interruptible

_INPUT = flags.DEFINE_string("input", None, "recommend: Parquet, CSV or TSV file of users.")
_OUTPUT = flags.DEFINE_string(
    "output", None, "recommend: Parquet or CSV file to write; export: directory to write."
)
_ONNX = flags.DEFINE_bool("onnx", False, "export: also write encode.onnx (the extra `onnx`).")
_K = flags.DEFINE_integer("k", 10, "recommend: items a user.")
_STEPS = flags.DEFINE_integer("steps", -1, "recommend: reasoning steps; -1 = as trained.")
_EXCLUDE_SEEN = flags.DEFINE_bool(
    "exclude_seen", True, "recommend: leave out what is in a user's own history."
)
_EXCLUDE = flags.DEFINE_string(
    "exclude", "", "recommend: file of item ids, one a line, to leave out for everybody."
)
_CANDIDATES = flags.DEFINE_string(
    "candidates", "", "recommend: file of item ids, one a line, to choose from; all by default."
)
_USER = flags.DEFINE_string("user_column", "user_id", "recommend: users in the input.")
_ITEMS = flags.DEFINE_string(
    "items_column", "items", "recommend: all items of a user, a list or separated by spaces."
)
_ITEM = flags.DEFINE_string("item_column", "item_id", "recommend: item of an interaction.")
_TIMESTAMP = flags.DEFINE_string(
    "timestamp_column", "timestamp", "recommend: its time; without it the file's order counts."
)


def recommend_run(path: str | None) -> None:
    """Writes the lists of all users of --input, from a work directory or an export.

    Raises:
        UserError: whatever is wrong with the flags or the files.
        KeyboardInterrupt: stopped by a signal; finished parts are kept.
    """
    # Here, because a training need not wait for their imports.
    from rearec_jax.inference import opening
    from rearec_jax.inference.recommend_files import Request, recommend_file
    from rearec_jax.inference.user_rows import Columns

    path = _required(path, "workdir", "DIR, a finished run or an exported model")
    request = Request(
        input=_required(_INPUT.value, "input", "FILE of users (.parquet, .csv or .tsv)"),
        output=_required(_OUTPUT.value, "output", "FILE to write (.parquet or .csv)"),
        columns=Columns(_USER.value, _ITEMS.value, _ITEM.value, _TIMESTAMP.value),
        k=_K.value,
        steps=_STEPS.value,
        exclude_seen=_EXCLUDE_SEEN.value,
        exclude=_EXCLUDE.value,
        candidates=_CANDIDATES.value,
    )
    with interruptible():
        # Before it is read: if it changes meanwhile, parts of the old one are not continued.
        model = _identity(pathlib.Path(path))
        counts = recommend_file(opening.load(path), request, model)
    _say(f"written: {request.output}: {counts.users:,} users")
    if counts.fallback:
        _say(f"{counts.fallback:,} users without a known item have the most popular ones")
    if counts.unknown:
        _say(f"{counts.unknown:,} ids in histories are no item's and were left out")
    if counts.wrong:
        _say(f"{counts.wrong:,} wrong rows were left out: {request.output}.errors.csv")


def export_run(path: str | None) -> None:
    """Writes the best epoch of a run as a directory that needs no training code.

    Raises:
        UserError: no such run, or --output cannot be written.
    """
    from rearec_jax.inference import export

    path = _required(path, "workdir", "DIR, the directory of a finished run")
    output = _required(_OUTPUT.value, "output", "DIR to write")
    with interruptible():
        target = export.export_run(path, output, _ONNX.value)
    _say(f"written: {target}")


def _required(value: str | None, flag: str, what: str) -> str:
    if not value:
        raise UserError(f"--{flag}={what}, is missing")
    return value


def _identity(path: pathlib.Path) -> str:
    """Changes when the model does."""
    manifest = path / "manifest.json"
    if manifest.exists():
        return hashlib.sha256(manifest.read_bytes()).hexdigest()
    best = sorted(place for place in path.glob("checkpoints/best/*") if place.name.isdigit())
    steps = [(place.name, place.stat().st_ino, place.stat().st_mtime_ns) for place in best]
    return f"{path.absolute()} {steps}"


def _say(text: str) -> None:
    Console().print(text, markup=False, highlight=False, soft_wrap=True)
