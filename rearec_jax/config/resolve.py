"""Turns the options of a config file and the command line into a frozen, checked `Config`."""

from collections.abc import Mapping
import dataclasses
import difflib
import hashlib
import json
import sys
import types
import typing
from typing import Any

from ml_collections import config_dict

from rearec_jax.config.checks import check, check_choices
from rearec_jax.config.options import BACKBONES, TEMPERATURES, Config
from rearec_jax.errors import UserError
from rearec_jax.methods import METHODS

# Options that came later, and the values at which nothing changes: a fingerprint leaves them out,
# so that the directories of earlier runs keep their names.
NEWER = (
    ("data", "single_users", "drop"),
    ("data", "item_features", ""),
    *(("data", name, []) for name in ("feature_columns", "feature_numbers")),
    *(("data", name, "") for name in ("validation_path", "test_path", "columns", "separator")),
    *(("data", name, "") for name in ("event_column", "events")),
    *(("data", name, 0) for name in ("min_user", "min_item")),
    ("data", "duplicates", "keep"),
    ("train", "stop_metric", "ndcg@20"),
    ("eval", "list_length", 0, 10),
    ("data", "ties", "file"),
    ("data", "times_path", ""),
    ("train", "dropout_samples", 1),
    ("model", "layer", "transformer"),
    ("model", "taps", 12),
    ("model", "relative_positions", False),
    ("train", "callbacks", []),
    ("train", "start_from", ""),
    ("method", "graph", "pairs"),
    ("method", "graph_window", 3),
    ("method", "teacher_neighbours", 20),
    ("method", "teacher_weight", 0.3),
    ("method", "teacher_width", 2.0),
    ("method", "temperature_power", 0.0),
    ("method", "rescale", False),
    ("method", "core_layers", 1),
    ("method", "mean_steps", 4.0),
    ("method", "start_noise", 1.0),
    ("method", "trajectory_weight", 0.0),
    ("method", "step_weight", 0.0),
    ("method", "streams", 2),
    ("method", "dropout_contrast", 0.0),
    ("method", "held_out_users", 0.05),
)


def default() -> config_dict.ConfigDict:
    """Returns a ConfigDict of all options at their defaults, which config files change."""
    return to_options(Config())


def to_options(config: Config) -> config_dict.ConfigDict:
    """Returns a ConfigDict of all options; ``resolve(to_options(config)) == config``."""
    return _to_config_dict(config).lock()  # so that an unknown name fails at its line


def resolve(options: Mapping[str, Any] | config_dict.ConfigDict) -> Config:
    """Returns the frozen, checked configuration that the options stand for.

    Raises:
        UserError: An option is unknown (the nearest known one is named), has the wrong type, or is
            out of range.
    """
    config = _build(Config, options, "config")
    check_choices(config)
    config = _fill(config)
    check(config)
    return config


def _fill(config: Config) -> Config:
    """Sets the options whose default depends on others."""
    model, method = config.model, config.method
    items, attention, similarity = BACKBONES[model.backbone]
    model = dataclasses.replace(
        model,
        items=model.items or items,
        attention=model.attention or attention,
        similarity=model.similarity or similarity,
    )
    method = dataclasses.replace(
        method,
        steps=method.steps if METHODS[method.name].reasons else 0,
        temperature=method.temperature or TEMPERATURES[model.similarity],
    )
    data = config.data
    if (data.validation_path or data.test_path) and data.split == "leave_one_out":
        data = dataclasses.replace(data, split="given")
    return dataclasses.replace(config, data=data, model=model, method=method)


def to_dict(config: Config) -> dict[str, Any]:
    """Returns the nested dict of ``config.json``; ``resolve(to_dict(config)) == config``."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def fingerprint(config: Config) -> str:
    """Returns ten hexadecimal digits that change when any option changes."""
    options = to_dict(config)
    for group, name, *values in NEWER:
        if options[group][name] in values:
            del options[group][name]
    text = json.dumps(options, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _to_config_dict(value: Any) -> config_dict.ConfigDict:
    result = config_dict.ConfigDict()
    hints = typing.get_type_hints(type(value))
    for field in dataclasses.fields(value):
        default_value = getattr(value, field.name)
        if dataclasses.is_dataclass(default_value):
            result[field.name] = _to_config_dict(default_value)
        elif default_value is None:
            result[field.name] = config_dict.placeholder(_plain_type(hints[field.name]))
        else:
            result[field.name] = default_value
    return result


def _plain_type(hint: Any) -> type:
    """Returns the plain type of a hint: float of ``float | None``, tuple of ``tuple[int, ...]``."""
    if isinstance(hint, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    return typing.get_origin(hint) or hint


def _build(kind: type, options: Any, path: str) -> Any:
    if not isinstance(options, Mapping | config_dict.ConfigDict):
        raise UserError(f"option {path} is a group of options, not {options!r}")
    hints = typing.get_type_hints(kind)
    values = {}
    for key in options:
        if key not in hints:
            near = difflib.get_close_matches(key, hints, n=1, cutoff=0.5)
            known = f"did you mean {path}.{near[0]}?" if near else f"known: {', '.join(hints)}"
            raise UserError(f"unknown option {path}.{key}; {known}")
        value = options[key]
        name = f"{path}.{key}"
        if dataclasses.is_dataclass(hints[key]):
            values[key] = _build(hints[key], value, name)
        else:
            values[key] = _convert(value, hints[key], name)
    return kind(**values)


def _convert(value: Any, hint: Any, name: str) -> Any:
    if value is None and type(None) in typing.get_args(hint):
        return None
    kind = _plain_type(hint)
    if kind is tuple and isinstance(value, list | tuple):
        (item, *_) = typing.get_args(hint)
        return tuple(_convert(v, item, name) for v in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        if abs(value) > sys.float_info.max:
            raise UserError(f"option {name} is too large a number")
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise UserError(
            f"option {name} must be {kind.__name__}, got {value!r} ({type(value).__name__})"
        )
    return value
