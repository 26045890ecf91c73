"""Compares the options of two runs, and knows which of them may change when a run goes on."""

from collections.abc import Mapping
from typing import Any

from rearec_jax.config.resolve import resolve, to_dict


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Lines 'data.core: 5 -> 10' for every option that differs between two ``to_dict`` results."""
    flat_old, flat_new = _flatten(old), _flatten(new)
    return [
        f"{key}: {flat_old.get(key, '(absent)')} -> {flat_new.get(key, '(absent)')}"
        for key in sorted(flat_old | flat_new)
        if flat_old.get(key, "(absent)") != flat_new.get(key, "(absent)")
    ]


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


# Options that may change when a run is resumed: they say how to look at a run, how often to save
# it, or where its input lies, and leave the weights it computes as they are.
FREE_OPTIONS = (
    "eval.batch_size",
    "eval.score_mib",
    "text.batch_size",
    "train.log_every_steps",
    "train.checkpoint_minutes",
    "data.path",
    "data.cache_dir",
    "data.mirror",
    "data.download_dir",
    "data.tfds_dir",
    "data.hint",
    "analysis.",
    "mesh.",
)


# Options that name the files which a run is trained on; their digests are compared.
DATA_OPTIONS = ("data.path", "data.item_text", "text.vectors")


# What a run did that is older than an option, where it isn't what the option's default does now.
BEFORE = {"train": {"rows_multiple": 1}}


def clashes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """``config.difference`` of two runs, without the options that may change when one resumes."""
    lines = difference(old, new)
    return [line for line in lines if not line.startswith(FREE_OPTIONS)]


def with_defaults(old: Mapping[str, Any]) -> dict[str, Any]:
    """An option that is newer than the run had its default then, or what `BEFORE` says."""
    filled = dict(old)
    for key, section in to_dict(resolve({})).items():
        if isinstance(section, dict):
            filled[key] = {**section, **BEFORE.get(key, {}), **old.get(key, {})}
        else:
            filled[key] = old.get(key, section)
    return filled
