"""Compares the options of two runs, and lists those that may change when a run is resumed."""

from collections.abc import Mapping
from typing import Any

from rearec_jax.config.resolve import resolve, to_dict


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Returns a line 'data.core: 5 -> 10' for every option that differs in two ``to_dict``s."""
    flat_old, flat_new = flattened(old), flattened(new)
    return [
        f"{key}: {flat_old.get(key, '(absent)')} -> {flat_new.get(key, '(absent)')}"
        for key in sorted(flat_old | flat_new)
        if flat_old.get(key, "(absent)") != flat_new.get(key, "(absent)")
    ]


def flattened(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns the options of a ``to_dict`` by full name: {"method.steps": 2, ..., "seed": 0}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


# The options that may change when a run is resumed: they set how it is evaluated, how often it is
# saved, or where its input is, and do not change the weights that it computes.
FREE_OPTIONS = (
    "eval.batch_size",
    "eval.score_mib",
    "eval.list_length",
    "text.batch_size",
    "train.log_every_steps",
    "train.callbacks",
    "train.checkpoint_minutes",
    "data.path",
    "data.validation_path",
    "data.test_path",
    "data.times_path",
    "data.cache_dir",
    "data.mirror",
    "data.download_dir",
    "data.tfds_dir",
    "data.hint",
    "analysis.",
    "mesh.",
)


# Options that name the files which a run is trained on; their digests are compared.
DATA_OPTIONS = ("data.path", "data.times_path", "data.validation_path", "data.test_path")
DATA_OPTIONS += ("data.item_text", "data.item_features", "text.vectors")


# The values of options in runs that are older than the option, where the default is another now.
BEFORE = {"train": {"rows_multiple": 1}}

EPOCHS = "train.epochs: "  # how the line of this option begins


def clashes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Returns the ``difference`` of two runs without the options that may change on resuming."""
    lines = difference(with_defaults(old), with_defaults(new))
    return [line for line in lines if not line.startswith(FREE_OPTIONS)]


def refused(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Returns the ``clashes`` for which a run does not go on.

    More epochs alone are no reason, unless the learning rate depends on their number.
    """
    lines = clashes(old, new)
    if len(lines) != 1 or not lines[0].startswith(EPOCHS):
        return lines
    before, now = (with_defaults(tree)["train"] for tree in (old, new))
    if not isinstance(before["epochs"], int) or now["epochs"] < before["epochs"]:
        return lines
    if now["schedule"] == "constant":
        return []
    schedule, epochs = now["schedule"], before["epochs"]
    return [f"{lines[0]} (train.schedule={schedule} was made for {epochs} epochs)"]


def with_defaults(old: Mapping[str, Any]) -> dict[str, Any]:
    """Adds the options that are newer than the run, at their defaults or as `BEFORE` says."""
    filled = dict(old)
    for key, section in to_dict(resolve({})).items():
        given = old.get(key, {} if isinstance(section, dict) else section)
        if isinstance(section, dict) and isinstance(given, Mapping):
            given = {**section, **BEFORE.get(key, {}), **given}
        filled[key] = given
    return filled
