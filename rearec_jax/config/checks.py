"""Checks the options of a run, each and together; an error is one sentence."""

import difflib
import math
import string

from rearec_jax.config.options import (
    BACKBONES,
    BUILDERS,
    ENCODERS,
    ITEMS,
    LAYERS,
    SOURCES,
    SPLITS,
    TEMPERATURES,
    Config,
)
from rearec_jax.errors import UserError
from rearec_jax.methods import METHODS

LARGEST = 2**31 - 1  # the largest count, which 32 bits hold
LONGEST = 2**16  # the longest history and the most reasoning steps, for which arrays are made


def check(config: Config) -> None:
    """Raises UserError for the first option that is out of range or does not fit the others."""
    _check_counts(config)
    _check_fractions(config)
    _check_together(config)
    _check_text(config)
    for name, value in {"mesh.data": config.mesh.data, "mesh.model": config.mesh.model}.items():
        _require(
            value >= 1 or (name == "mesh.data" and value == -1),
            f"{name}={value} must be at least 1 (mesh.data: or -1, all devices that are left)",
        )


def check_choices(config: Config) -> None:
    """Raises UserError for the first option whose value is none of its known names."""
    data, model, method, train = config.data, config.model, config.method, config.train
    _one_of("data.source", data.source, SOURCES)
    _one_of("data.split", data.split, SPLITS)
    if data.builder or data.source == "tfds":
        _one_of("data.builder", data.builder, BUILDERS)
    _one_of("data.rating_filter", data.rating_filter, ("interactions", "targets"))
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
    _one_of("train.loss", train.loss, ("full", "sampled", "in_batch"))
    _one_of("train.objective", train.objective, ("next_item", "cloze"))
    _one_of("train.schedule", train.schedule, ("constant", "cosine"))


def _check_counts(config: Config) -> None:
    data, model, method, train, ev = (
        config.data,
        config.model,
        config.method,
        config.train,
        config.eval,
    )
    for name, value in {
        "data.min_history": data.min_history,
        "text.width": config.text.width,
        "text.batch_size": config.text.batch_size,
        "text.max_tokens": config.text.max_tokens,
        "model.width": model.width,
        "model.layers": model.layers,
        "model.experts": model.experts,
        "model.heads": model.heads,
        "model.hidden": model.hidden,
        "model.max_length": model.max_length,
        "train.epochs": train.epochs,
        "train.sampled_items": train.sampled_items,
        "train.batch_size": train.batch_size,
        "train.catalogue_block": train.catalogue_block,
        "train.log_every_steps": train.log_every_steps,
        "eval.batch_size": ev.batch_size,
        "eval.score_mib": ev.score_mib,
        "analysis.list_length": config.analysis.list_length,
        "analysis.projected_users": config.analysis.projected_users,
        "analysis.resamples": config.analysis.resamples,
    }.items():
        _require(value >= 1, f"{name}={value} must be at least 1")
        largest = LONGEST if name == "model.max_length" else LARGEST
        _require(value <= largest, f"{name}={value} must be at most {largest}")
    for name, value in {
        "data.core": data.core,
        "train.max_steps": train.max_steps,
        "train.warmup_steps": train.warmup_steps,
        "train.clip_norm": train.clip_norm,
        "train.weight_decay": train.weight_decay,
        "train.patience": train.patience,
        "train.stride": train.stride,
        "train.rows_multiple": train.rows_multiple,
        "train.logits_gib": train.logits_gib,
        "method.noise": method.noise,
        "method.contrastive_weight": method.contrastive_weight,
        "method.contrastive_warmup_epochs": method.contrastive_warmup_epochs,
        "eval.max_users": ev.max_users,
        "analysis.random_stories": config.analysis.random_stories,
        "data.demo_seed": data.demo_seed,
        "analysis.seed": config.analysis.seed,
        "seed": config.seed,
    }.items():
        _require(0 <= value < math.inf, f"{name}={value} must not be negative")
        _require(value < 2**63, f"{name}={value} must be below 2^63")


def _check_fractions(config: Config) -> None:
    model, method, train = config.model, config.method, config.train
    for name, value in {
        "data.malformed_share": config.data.malformed_share,
        "model.embedding_dropout": model.embedding_dropout,
        "model.dropout": model.dropout,
        "model.text_dropout": model.text_dropout,
    }.items():
        _require(0 <= value < 1, f"{name}={value} must be at least 0 and below 1")
    for name, value in {
        "train.mask_rate": train.mask_rate,
        "train.mask_last_only": train.mask_last_only,
        "train.sampling_power": train.sampling_power,
    }.items():
        _require(0 <= value <= 1, f"{name}={value} must lie between 0 and 1")
    for name, value in {
        "train.learning_rate": train.learning_rate,
        "train.checkpoint_minutes": train.checkpoint_minutes,
        "method.temperature": method.temperature,
        "method.temperature_decay": method.temperature_decay,
        "model.init_stddev": model.init_stddev,
        "model.layer_norm_epsilon": model.layer_norm_epsilon,
    }.items():
        _require(0 < value < math.inf, f"{name}={value} must be a positive number")
    for name, value in {
        "data.rating_above": config.data.rating_above or 0.0,
        "method.kl_weight": method.kl_weight,
    }.items():
        _require(math.isfinite(value), f"{name}={value} must be a finite number")


def _check_together(config: Config) -> None:
    """Checks what holds between options, and what takes more words."""
    data, model, method, train, ev = (
        config.data,
        config.model,
        config.method,
        config.train,
        config.eval,
    )
    _require(
        model.width % model.heads == 0,
        f"model.width={model.width} must be a multiple of model.heads={model.heads}",
    )
    _require(method.steps <= LONGEST, f"method.steps={method.steps} must be at most {LONGEST}")
    _require(
        method.steps >= 1 or not METHODS[method.name].reasons,
        f"method.name={method.name} needs method.steps of at least 1, got {method.steps}",
    )
    _require(
        -1 <= ev.steps <= method.steps,
        f"eval.steps={ev.steps} must lie between 0 and the trained method.steps={method.steps}"
        " (-1 = as trained)",
    )
    _require(
        not model.item_ids or model.items != "ids",
        f"model.item_ids adds item vectors to text; model.items={model.items} has no text",
    )
    _require(
        train.loss == "full" or not METHODS[method.name].whole_catalogue(method),
        f"method.kl_weight={method.kl_weight} compares distributions over the whole catalogue;"
        f" with train.loss={train.loss} set it to 0",
    )
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
    _require(
        0 < data.valid_fraction < data.test_fraction < 1,
        f"data.valid_fraction={data.valid_fraction} and data.test_fraction={data.test_fraction}"
        " must rise between 0 and 1",
    )
    _require(
        bool(ev.cutoffs) and all(k >= 1 for k in ev.cutoffs),
        f"eval.cutoffs={ev.cutoffs} must be positive",
    )


def _check_text(config: Config) -> None:
    text = config.text
    template_parts(config.data.text_template)
    _require(
        text.encoder != "language_model" or bool(text.model_path or text.vectors),
        "text.encoder=language_model needs text.model_path, the directory of a transformers or"
        " sentence-transformers model",
    )


def template_parts(template: str) -> list[tuple[str, str | None]]:
    """Splits a template into pairs of literal text and the column that follows it, or None.

    "The title is {title}" gives ("The title is ", "title"). All between two braces is the name of a
    column; {{ and }} are braces. Nothing is evaluated.

    Raises:
        UserError: There is an unclosed brace, empty braces, a conversion (!r) or a format (:>9).
    """
    example = 'it should look like "The title is {title}" ({{ and }} for braces)'
    parts = []
    try:
        for literal, column, form, conversion in string.Formatter().parse(template):
            _require(column != "", f"data.text_template has braces without a column; {example}")
            _require(
                not form and not conversion,
                f"data.text_template: {column!r} has a format or conversion; {example}",
            )
            parts.append((literal, column))
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"data.text_template={template!r}: {error}; {example}") from error
    return parts


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        known = tuple(filter(None, known))
        near = difflib.get_close_matches(value, known, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"{name}={value!r} must be one of {', '.join(known)}{hint}")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UserError(message)
