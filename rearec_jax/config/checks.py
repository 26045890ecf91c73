"""Checks the options of a run, each and together; an error is one sentence."""

from collections.abc import Iterator
import dataclasses
import difflib
import operator
import string
import typing

from rearec_jax.config.options import (
    BACKBONES,
    BUILDERS,
    ENCODERS,
    FINITE,
    ITEMS,
    LAYERS,
    LENGTH,
    LONGEST,
    NOT_NEGATIVE,
    POSITIVE,
    SOURCES,
    SPLITS,
    TEMPERATURES,
    TIES,
    Config,
    Range,
)
from rearec_jax.errors import UserError
from rearec_jax.methods import METHODS


def _ranges(kind: type, prefix: str = "") -> Iterator[tuple[str, Range]]:
    """Yields the full name and the range of every option that has one."""
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        if dataclasses.is_dataclass(hint):
            yield from _ranges(typing.cast(type, hint), f"{prefix}{name}.")
        yield from ((prefix + name, found) for found in getattr(hint, "__metadata__", ()))


RANGES = {
    **dict(_ranges(Config)),
    "method.temperature": POSITIVE,  # `methods/` lies below this room and knows no ranges
    "method.temperature_decay": POSITIVE,
    "method.kl_weight": FINITE,
    "method.noise": NOT_NEGATIVE,
    "method.contrastive_weight": NOT_NEGATIVE,
    "method.contrastive_warmup_epochs": NOT_NEGATIVE,
    "method.graph_window": LENGTH,
    "method.teacher_neighbours": Range(lambda n: 0 <= n <= 1000, "lie between 0 and 1000"),
    "method.teacher_weight": NOT_NEGATIVE,
    "method.teacher_width": POSITIVE,
    "method.temperature_power": FINITE,
    "method.core_layers": LENGTH,
    "method.mean_steps": LENGTH,
    "method.start_noise": NOT_NEGATIVE,
    "method.trajectory_weight": NOT_NEGATIVE,
    "method.step_weight": NOT_NEGATIVE,
    "method.streams": Range(lambda n: 1 <= n <= 64, "be at least 1 and at most 64"),
    "method.dropout_contrast": NOT_NEGATIVE,
    "method.held_out_users": Range(lambda x: 0 < x < 1, "lie between 0 and 1"),
}


def check(config: Config) -> None:
    """Raises UserError for the first option that is out of range or does not fit the others."""
    for name, allowed in RANGES.items():
        value = operator.attrgetter(name)(config)
        _require(allowed.holds(value), f"{name}={value} must {allowed.words}")
    _check_together(config)


def check_choices(config: Config) -> None:
    """Raises UserError for the first option whose value is none of its known names."""
    data, model, method, train = config.data, config.model, config.method, config.train
    _one_of("data.source", data.source, SOURCES)
    _one_of("data.split", data.split, SPLITS)
    _one_of("data.ties", data.ties, TIES)
    if data.builder or data.source == "tfds":
        _one_of("data.builder", data.builder, BUILDERS)
    _one_of("data.rating_filter", data.rating_filter, ("interactions", "targets"))
    _one_of("data.duplicates", data.duplicates, ("keep", "drop", "last"))
    _one_of("data.single_users", data.single_users, ("drop", "keep"))
    _one_of("text.encoder", config.text.encoder, ENCODERS)
    _one_of("model.backbone", model.backbone, tuple(BACKBONES))
    _one_of("model.items", model.items, ("", *ITEMS))
    _one_of("model.layer", model.layer, LAYERS)
    _one_of("model.attention", model.attention, ("", "causal", "bidirectional"))
    _one_of("model.similarity", model.similarity, ("", *TEMPERATURES))
    _one_of("model.dtype", model.dtype, ("float32", "bfloat16", "float64"))
    _one_of("method.name", method.name, tuple(METHODS))
    _one_of("method.kl", method.kl, ("released", "paper"))
    _one_of("method.progressive_sum", method.progressive_sum, ("released", "paper"))
    _one_of("method.negatives", method.negatives, ("other_users", "batch"))
    _one_of("method.graph", method.graph, ("pairs", "swing"))
    _one_of("train.loss", train.loss, ("full", "sampled", "in_batch"))
    _one_of("train.objective", train.objective, ("next_item", "cloze"))
    _one_of("train.schedule", train.schedule, ("constant", "cosine"))


def _check_together(config: Config) -> None:
    """Checks what holds between options, and what takes more words."""
    _check_data(config)
    _check_model(config)
    _check_method(config)
    _check_training(config)
    _require(
        bool(config.eval.cutoffs) and all(k >= 1 for k in config.eval.cutoffs),
        f"eval.cutoffs={config.eval.cutoffs} must be positive",
    )


def _check_data(config: Config) -> None:
    data, text = config.data, config.text
    _require(
        0 < data.valid_fraction < data.test_fraction < 1,
        f"data.valid_fraction={data.valid_fraction} and data.test_fraction={data.test_fraction}"
        " must rise between 0 and 1",
    )
    _require(
        bool(data.events) or not data.event_column,
        f"data.event_column={data.event_column} needs data.events, the kinds of events to keep",
    )
    separate = data.validation_path or data.test_path
    _require(
        not separate or (data.split == "given" and data.source in ("table", "recbole")),
        "data.validation_path and data.test_path need data.source=table and data.split=given, got"
        f" {data.source} and {data.split}",
    )
    limits = [  # what says more of a target than its time
        ("data.split=given", data.split == "given"),
        ("data.rating_filter=targets", data.rating_filter == "targets"),
        ("data.known_items_only", data.known_items_only),
        ("data.source=tfds", data.source == "tfds"),
        ("eval.max_users", config.eval.max_users > 0),
    ]
    refused = [name for name, is_set in limits if is_set]
    _require(
        data.ties != "expected" or not refused,
        "data.ties=expected makes each of the tied items the target in turn, which does not go with"
        f" {', '.join(refused)}; leave that out, or set data.ties=untied",
    )
    _require(
        not data.times_path or data.source == "sequences",
        f"data.times_path={data.times_path} belongs to data.source=sequences;"
        f" data.source={data.source} has its times in its own file",
    )
    _require(
        not data.item_features or config.model.items == "ids",
        f"data.item_features belongs to backbones with a vector an item, and"
        f" model.backbone={config.model.backbone} reads text: write the features into it, by"
        " data.text_columns or data.text_template",
    )
    _require(
        bool(data.item_features) or not (data.feature_columns or data.feature_numbers),
        "data.feature_columns and data.feature_numbers need data.item_features, the file",
    )
    template_parts(data.text_template)
    _require(
        text.encoder != "language_model" or bool(text.model_path or text.vectors),
        "text.encoder=language_model needs text.model_path, the directory of a transformers or"
        " sentence-transformers model",
    )


def _check_model(config: Config) -> None:
    model = config.model
    _require(
        model.width % model.heads == 0,
        f"model.width={model.width} must be a multiple of model.heads={model.heads}",
    )
    _require(
        not model.relative_positions or model.attention == "causal",
        "model.relative_positions are distances to earlier items and need model.attention=causal,"
        f" got {model.attention}",
    )
    _require(
        not model.item_ids or model.items != "ids",
        f"model.item_ids adds item vectors to text; model.items={model.items} has no text",
    )


def _check_method(config: Config) -> None:
    method, train, steps = config.method, config.train, config.eval.steps
    value = METHODS[method.name]
    _require(method.steps <= LONGEST, f"method.steps={method.steps} must be at most {LONGEST}")
    _require(
        method.steps >= 1 or not value.reasons,
        f"method.name={method.name} needs method.steps of at least 1, got {method.steps}",
    )
    # Without positions a step is the same wherever it stands.
    free_depth = value.reasons and not value.step_positions
    _require(
        -1 <= steps <= (LONGEST if free_depth else method.steps),
        f"eval.steps={steps} must lie between 0 and the trained method.steps={method.steps}"
        " (-1 = as trained)",
    )
    _require(
        train.loss == "full" or not value.whole_catalogue(method),
        f"method.name={method.name} compares distributions over the whole catalogue; with"
        f" train.loss={train.loss} set {' and '.join(_weights(method.name))} to 0",
    )
    _require(
        train.objective == "next_item" or not value.neighbours(method),
        f"method.name={method.name} teaches by the items near the last one, and"
        f" train.objective={train.objective} hides items anywhere; use train.objective=next_item",
    )


def _check_training(config: Config) -> None:
    model, train = config.model, config.train
    _require(
        not train.lazy_adam or (train.loss != "full" and (model.items == "ids" or model.item_ids)),
        "train.lazy_adam needs train.loss=sampled or in_batch (a full softmax touches every item)"
        " and free item vectors",
    )
    _require(
        train.objective != "cloze" or (model.attention == "bidirectional" and model.max_length > 1),
        "train.objective=cloze needs model.attention=bidirectional (model.backbone=bert4rec) and"
        f" model.max_length of at least 2, got {model.attention} and {model.max_length}",
    )
    _require(
        train.stride <= model.max_length,
        f"train.stride={train.stride} must not exceed model.max_length={model.max_length}",
    )


def template_parts(template: str) -> list[tuple[str, str | None]]:
    """Splits a template into pairs of literal text and the column that follows it, or None.

    "The title is {title}" gives ("The title is ", "title"). All between two braces is the name of a
    column; {{ and }} are braces. Nothing is evaluated.

    Raises:
        UserError: There is an unclosed brace, empty braces, a conversion (!r) or a format (:>9).
    """
    example = 'it should look like "The title is {title}" ({{ and }} for braces)'
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise UserError(f"data.text_template={template!r}: {error}; {example}") from error
    for _, column, form, conversion in parts:
        _require(column != "", f"data.text_template has braces without a column; {example}")
        _require(
            not form and not conversion,
            f"data.text_template: {column!r} has a format or conversion; {example}",
        )
    return [(literal, column) for literal, column, *_ in parts]


def _weights(method: str) -> list[str]:
    """Returns the options that are weights of the terms of a method's loss."""
    return [option for option in METHODS[method].options if option.endswith("_weight")]


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        known = tuple(filter(None, known))
        near = difflib.get_close_matches(value, known, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"{name}={value!r} must be one of {', '.join(known)}{hint}")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UserError(message)
