"""Every option, its default, and the one place where options are checked.

A ``ConfigDict`` comes in from a config file and the command line; ``resolve`` turns it into the
frozen dataclasses below. Nothing else in the package sees a ConfigDict, and no default lives
anywhere else.
"""

from collections.abc import Mapping
import dataclasses
import difflib
import hashlib
import json
import math
import string
import sys
import types
import typing
from typing import Any

from ml_collections import config_dict

from rearec_jax.errors import UserError

METHODS = ("base", "naive", "rpe", "erl", "prl")
BACKBONES = {  # name -> items, attention, similarity
    "sasrec": ("ids", "causal", "dot"),
    "bert4rec": ("ids", "bidirectional", "dot"),
    "unisrec": ("whitening", "causal", "cosine"),
    "morec": ("projection", "causal", "dot"),
}
ITEMS = ("ids", "whitening", "projection")
TEMPERATURES = {"dot": 1.0, "cosine": 0.07}  # where method.temperature is 0
SOURCES = ("demo", "sequences", "table", "recbole", "tfds")
BUILDERS = ("yelp", "video_games", "software", "cds_and_vinyl", "baby_products", "demo")
LARGEST = 2**31 - 1  # of what is counted: what 32 bits hold
LONGEST = 2**16  # history, and reasoning: tensors are made for them
SPLITS = ("leave_one_out", "time", "time_fraction", "given")
ENCODERS = ("tfidf", "language_model")


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Where interactions come from and how they become examples."""

    name: str = "demo"  # shown in tables and summaries
    source: str = "demo"  # demo | sequences | table | recbole | tfds
    path: str = ""  # the file (recbole: the .inter file; tfds: the directory of Yelp's files)
    hint: str = ""  # said when path is missing: what file is meant and where it is published
    item_text: str = ""  # TSV/CSV/Parquet/.item file with the items' text; optional
    user_column: str = "user_id"
    item_column: str = "item_id"
    timestamp_column: str = "timestamp"  # "" = rows are in time order already
    rating_column: str = ""  # "" = no ratings
    split_column: str = "split"  # of split=given: train, valid or test in each row
    text_id_column: str = "item_id"
    text_columns: tuple[str, ...] = ("title",)  # joined by a space
    text_template: str = ""  # "The title is {title}, the brand {brand}"; instead of text_columns
    rating_above: float | None = None  # keep rating > x
    rating_filter: str = "interactions"  # interactions | targets (histories keep low ratings)
    core: int = 0  # iterated k-core over users and items; 0 = off
    min_history: int = 1  # items before a target, at least
    split: str = "leave_one_out"  # leave_one_out | time | time_fraction | given
    valid_from: str = ""  # split=time: ISO date or date-time, UTC
    test_from: str = ""
    valid_fraction: float = 0.8  # split=time_fraction: cuts as shares of the whole time span
    test_fraction: float = 0.9
    known_items_only: bool = False  # validation/test: target and history must occur in training
    demo_users: int = 3000
    demo_items: int = 400
    demo_seed: int = 0
    builder: str = ""  # source=tfds: which one, of BUILDERS
    mirror: str = ""  # source=tfds: URL prefix or directory to take the official files from
    download_dir: str = ""  # "" = $XDG_CACHE_HOME/rearec_jax/downloads or ~/.cache/...
    tfds_dir: str = ""  # prepared TensorFlow Datasets; "" = .../rearec_jax/tfds, as above
    malformed_share: float = 0.001  # source=tfds: an error if more lines of a file are malformed
    cache_dir: str = ""  # prepared arrays; "" = $XDG_CACHE_HOME/rearec_jax or ~/.cache/rearec_jax


@dataclasses.dataclass(frozen=True)
class TextConfig:
    """Vectors of the items' text; only backbones that read text, and encode_items, use them."""

    vectors: str = ""  # .npy or Parquet file with vectors of your own; "" = made by `encoder`
    vectors_column: str = ""  # of a Parquet file; "" = the only column that holds lists of numbers
    encoder: str = "tfidf"  # tfidf (with truncated SVD) | language_model
    model_path: str = ""  # directory of a transformers or sentence-transformers model
    width: int = 768  # F, at most; wider vectors are reduced to it by PCA
    batch_size: int = 32  # texts that go through the language model at once
    max_tokens: int = 512  # of a text that the language model reads, at most


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Items to vectors, and the encoder of sequences (post-LayerNorm Transformer, BERT style)."""

    backbone: str = "sasrec"  # sasrec | bert4rec | unisrec | morec: the three below where ""
    items: str = ""  # ids | whitening (text, mixture of experts) | projection (text, two layers)
    attention: str = ""  # over the items: causal | bidirectional (each prefix on its own)
    similarity: str = ""  # of state and item: dot | cosine
    item_ids: bool = False  # text backbones: add a free vector an item (UniSRec's transductive)
    experts: int = 8  # items=whitening
    text_dropout: float = 0.2  # on the text vectors
    width: int = 256
    layers: int = 2
    heads: int = 2
    hidden: int = 300  # of the feed-forward layer
    max_length: int = 50  # items of a history that the model sees; tokens of a row
    embedding_dropout: float = 0.2
    dropout: float = 0.5  # attention weights and both sublayer outputs
    init_stddev: float = 0.02
    layer_norm_epsilon: float = 1e-12
    dtype: str = "float32"  # of the matrix products: float32 | bfloat16 | float64 (tests)


@dataclasses.dataclass(frozen=True)
class MethodConfig:
    """How the model reasons and how the steps are trained. Letters as in the paper.

    Defaults are not the paper's, whose scores are sharper and whose diversity and contrastive terms
    weigh more: of the few settings tried, they did best on Beauty's validation split, with one seed
    (configs/beauty.py).
    """

    name: str = "prl"  # base | naive | rpe | erl | prl
    steps: int = 2  # K; base has none, whatever this says
    temperature: float = 0.0  # tau of the scores; 0 = 1 for products, 0.07 for cosines
    kl_weight: float = 0.0  # lambda, ERL: weight of the KL diversity
    kl: str = "released"  # released (mean of ordered pairs, stop-gradient) | paper (sum i<j)
    temperature_decay: float = 1.0  # alpha, PRL: tau_k = tau * alpha^(K-k)
    progressive_sum: str = "released"  # released (CE_K + means) | paper (plain sums)
    noise: float = 0.01  # gamma, PRL: scale of the noisy view's input noise
    contrastive_weight: float = 0.1  # PRL (paper: 1); 0 = no noisy view at all
    contrastive_warmup_epochs: int = 0  # epochs before the contrastive term starts (released: 2)
    negatives: str = "other_users"  # other_users | batch (every other example)


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Optimisation."""

    objective: str = "next_item"  # next_item | cloze (BERT4Rec's own: masked items)
    mask_rate: float = 0.2  # cloze: share of a sequence's targets that is masked at a time
    mask_last_only: float = 0.1  # cloze: share of the sequences that masks its last item alone
    loss: str = "full"  # full | sampled | in_batch: approximations, for very large catalogues
    sampled_items: int = 8192  # sampled: negatives an update
    sampling_power: float = 0.75  # sampled: drawn in proportion to (count + 1)^power
    lazy_adam: bool = False  # sampled, in_batch: items that an update does not touch stay as is
    epochs: int = 300
    max_steps: int = 0  # stop after so many updates; 0 = no limit
    batch_size: int = 2048  # targets an update, rounded to whole rows
    rows_multiple: int = 0  # of which the rows of a batch are; 0 = a power of two that suits them
    learning_rate: float = 1e-3
    schedule: str = "constant"  # constant | cosine (to 0 over `epochs`)
    warmup_steps: int = 0
    clip_norm: float = 0.0  # 0 = off
    weight_decay: float = 0.0  # decoupled (AdamW)
    patience: int = 10  # epochs without a better validation NDCG@20; 0 = never stop early
    stride: int = 0  # new targets a window of a long sequence; 0 = max_length (no overlap)
    # GiB of logits: of a block of queries (full cross-entropy, one device, up to 131,072 items),
    # else whole ones if they fit, else blocks of the catalogue.
    logits_gib: float = 2.0
    catalogue_block: int = 8192  # items a block when streaming, and at most half of a device's
    checkpoint_minutes: float = 10.0  # within an epoch; one is kept after each epoch in any case
    log_every_steps: int = 50


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """Full ranking."""

    cutoffs: tuple[int, ...] = (5, 10, 20, 50)
    exclude_seen: bool = False  # rank only items that the user has not had
    max_users: int = 0  # a fixed random sample, for trials; 0 = all
    steps: int = -1  # reasoning steps at inference; -1 = as trained
    by_step: bool = True  # rank r_0 .. r_K too; False: only the final representation
    batch_size: int = 256  # users encoded at once: few fit a CPU's caches, GPUs want 4096
    score_mib: int = 256  # memory of one block of scores


@dataclasses.dataclass(frozen=True)
class AnalysisConfig:
    """--mode=analyse and --mode=compare."""

    list_length: int = 10  # items of the lists that steps are compared by
    projected_users: int = 500  # test examples whose states are shown in two dimensions
    story_users: tuple[str, ...] = ()  # raw ids; () = most improved, most worsened, and some drawn
    random_stories: int = 3
    resamples: int = 10_000  # of the bootstrap
    seed: int = 0  # of what is drawn


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Devices, data x model; data rows are split over the first, the catalogue over the second."""

    data: int = -1  # -1 = all devices that `model` leaves
    model: int = 1


@dataclasses.dataclass(frozen=True)
class Config:
    """One experiment, resolved and checked."""

    data: DataConfig = DataConfig()
    text: TextConfig = TextConfig()
    model: ModelConfig = ModelConfig()
    method: MethodConfig = MethodConfig()
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()
    analysis: AnalysisConfig = AnalysisConfig()
    mesh: MeshConfig = MeshConfig()
    seed: int = 0


def default() -> config_dict.ConfigDict:
    """A ConfigDict of all options at their defaults: where every config file starts."""
    return _to_config_dict(Config()).lock()  # an unknown name fails where it is written


def resolve(options: Mapping[str, Any] | config_dict.ConfigDict) -> Config:
    """Frozen, checked configuration.

    Raises:
        UserError: unknown option (with the nearest known one), wrong type, or a value out of range.
    """
    config = _build(Config, options, "config")
    _check_choices(config)
    config = _fill(config)
    _check(config)
    return config


def _fill(config: Config) -> Config:
    """Options whose default depends on others."""
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
        steps=0 if method.name == "base" else method.steps,  # does not reason, by definition
        temperature=method.temperature or TEMPERATURES[model.similarity],
    )
    return dataclasses.replace(config, model=model, method=method)


def to_dict(config: Config) -> dict[str, Any]:
    """Plain nested dict for ``config.json``; ``resolve(to_dict(c)) == c``."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def fingerprint(config: Config) -> str:
    """Ten hex digits that change when any option changes."""
    text = json.dumps(to_dict(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


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
    """float of ``float | None``; tuple of ``tuple[int, ...]``."""
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


def _check(config: Config) -> None:
    _check_counts(config)
    _check_fractions(config)
    _check_together(config)
    _check_text(config)
    for name, value in {"mesh.data": config.mesh.data, "mesh.model": config.mesh.model}.items():
        _require(
            value >= 1 or (name == "mesh.data" and value == -1),
            f"{name}={value} must be at least 1 (mesh.data: or -1, all devices that are left)",
        )


def _check_choices(config: Config) -> None:
    data, model, method, train = config.data, config.model, config.method, config.train
    _one_of("data.source", data.source, SOURCES)
    _one_of("data.split", data.split, SPLITS)
    if data.builder or data.source == "tfds":
        _one_of("data.builder", data.builder, BUILDERS)
    _one_of("data.rating_filter", data.rating_filter, ("interactions", "targets"))
    _one_of("text.encoder", config.text.encoder, ENCODERS)
    _one_of("model.backbone", model.backbone, tuple(BACKBONES))
    _one_of("model.items", model.items, ("", *ITEMS))
    _one_of("model.attention", model.attention, ("", "causal", "bidirectional"))
    _one_of("model.similarity", model.similarity, ("", *TEMPERATURES))
    _one_of("model.dtype", model.dtype, ("float32", "bfloat16", "float64"))
    _one_of("method.name", method.name, METHODS)
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
    """What holds between options, or needs more words."""
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
        method.steps >= 1 or method.name == "base",
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
        train.loss == "full" or method.name != "erl" or method.kl_weight == 0,
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
    """("the title is ", "title") of "the title is {title}": literal text, column after it.

    A column is what stands between braces, as it is; {{ and }} are braces. Nothing is evaluated.

    Raises:
        UserError: an unclosed brace, empty braces, a conversion (!r) or a format (:>9).
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
