"""Defines the flags of --mode=recommend, and runs it: lists for all users of a file."""

import pathlib

from absl import flags

from rearec_jax.commands.given import OUTPUT, Given, required, say
from rearec_jax.run.interruption import interruptible

HELP = "lists for the users of --input to --output"

_INPUT = flags.DEFINE_string("input", None, "recommend: Parquet, CSV, TSV or text file of users.")
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
_WRONG_SHARE = flags.DEFINE_float(
    "wrong_share", 0.1, "recommend: share of wrong rows above which no list is written."
)
_USER = flags.DEFINE_string("user_column", "user_id", "recommend: users in the input.")
_ITEMS = flags.DEFINE_string(
    "items_column",
    "items",
    "recommend: all items of a user: a list, or separated by spaces or commas.",
)
_ITEM = flags.DEFINE_string("item_column", "item_id", "recommend: item of an interaction.")
_TIMESTAMP = flags.DEFINE_string(
    "timestamp_column", "timestamp", "recommend: its time; without it the file's order counts."
)


def run(given: Given) -> None:
    """Recommends for the users of --input with the model in --workdir."""
    given.check_options()
    recommend_run(given.workdir)


def recommend_run(path: str | None) -> None:
    """Writes the lists of all users of --input, from a work directory or an export.

    Raises:
        UserError: a flag or a file is wrong.
        KeyboardInterrupt: it is stopped by a signal; finished parts are kept.
    """
    # Imported here, because a training need not wait for these.
    from rearec_jax.data.own_files.user_rows import Columns
    from rearec_jax.recommend import model_directory
    from rearec_jax.recommend.recommend_files import Request, recommend_file

    path = required(path, "workdir", "DIR, a finished run or an exported model")
    request = Request(
        input=required(_INPUT.value, "input", "FILE of users (.parquet, .csv, .tsv or .txt)"),
        output=required(OUTPUT.value, "output", "FILE to write (.parquet or .csv)"),
        columns=Columns(_USER.value, _ITEMS.value, _ITEM.value, _TIMESTAMP.value),
        k=_K.value,
        steps=_STEPS.value,
        exclude_seen=_EXCLUDE_SEEN.value,
        exclude=_EXCLUDE.value,
        candidates=_CANDIDATES.value,
        wrong_share=_WRONG_SHARE.value,
    )
    with interruptible():
        # Taken before the model is read, so that a change meanwhile does not continue old parts.
        model = repr(model_directory.identity(pathlib.Path(path)))
        counts = recommend_file(model_directory.load(path), request, model)
    say(f"written: {request.output}: {counts.users:,} users")
    if counts.fallback:
        say(f"{counts.fallback:,} users without a known item have the most popular ones")
    if counts.unknown:
        say(f"{counts.unknown:,} ids in histories are no item's and were left out")
    if counts.repeated:
        say(f"{counts.repeated:,} users have several rows in the input, and a list for each")
    if counts.wrong:
        say(f"{counts.wrong:,} wrong rows were left out: {request.output}.errors.csv")
