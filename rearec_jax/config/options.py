"""All options and their defaults; those of `method` are in `rearec_jax.methods.options`.

``resolve`` turns the ``ConfigDict`` of a config file and the command line into the frozen
dataclasses below, which the rest of the package reads.
"""

from collections.abc import Callable
import dataclasses
import math
from typing import Annotated, NamedTuple

from rearec_jax.methods.options import MethodConfig

BACKBONES = {  # the items, attention and similarity of each backbone
    "sasrec": ("ids", "causal", "dot"),
    "bert4rec": ("ids", "bidirectional", "dot"),
    "unisrec": ("whitening", "causal", "cosine"),
    "morec": ("projection", "causal", "dot"),
}
ITEMS = ("ids", "whitening", "projection")
TEMPERATURES = {"dot": 1.0, "cosine": 0.07}  # the temperatures where method.temperature is 0
LAYERS = ("transformer", "filtered", "ligr", "hstu")
SOURCES = ("demo", "sequences", "table", "recbole", "tfds")
BUILDERS = ("yelp", "video_games", "software", "cds_and_vinyl", "baby_products")
TIES = ("file", "untied", "expected")
SPLITS = ("leave_one_out", "time", "time_fraction", "interaction_fraction", "given")
ENCODERS = ("tfidf", "language_model")
LARGEST = 2**31 - 1  # the largest count, which 32 bits hold
LONGEST = 2**16  # the longest history and the most reasoning steps, for which arrays are made


class Range(NamedTuple):
    """The numbers that an option may be, of which NaN is never one."""

    holds: Callable[[float], bool]
    words: str  # what the number must do: "be at least 1"


NOT_NEGATIVE = Range(lambda x: 0 <= x < 2**63, "not be negative, and be below 2^63")
POSITIVE = Range(lambda x: 0 < x < math.inf, "be a positive number")
FINITE = Range(math.isfinite, "be a finite number")
LENGTH = Range(lambda n: 1 <= n <= LONGEST, f"be at least 1 and at most {LONGEST}")

Count = Annotated[int, Range(lambda n: 1 <= n <= LARGEST, f"be at least 1 and at most {LARGEST}")]
Length = Annotated[int, LENGTH]
Size = Annotated[int, NOT_NEGATIVE]
Amount = Annotated[float, NOT_NEGATIVE]
Positive = Annotated[float, POSITIVE]
Fraction = Annotated[float, Range(lambda x: 0 <= x < 1, "be at least 0 and below 1")]
FractionOrSame = Annotated[
    float, Range(lambda x: x == -1 or 0 <= x < 1, "be at least 0 and below 1, or -1 (the same)")
]
Share = Annotated[float, Range(lambda x: 0 <= x <= 1, "lie between 0 and 1")]
Threshold = Annotated[float | None, Range(lambda x: math.isfinite(x or 0), FINITE.words)]
DeviceCount = Annotated[int, Range(lambda n: n == -1 or n >= 1, "be at least 1, or -1 (all left)")]


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The options of the interactions: their source, and how they become examples."""

    name: str = "demo"  # the name in tables and summaries
    source: str = "demo"  # demo | sequences | table | recbole | tfds
    path: str = ""  # a file, directory, glob, or several by commas (tfds: Yelp's directory)
    times_path: str = ""  # source=sequences: lines 'user time time ...', as in path; "" = no times
    validation_path: str = ""  # the files of validation, where path has those of training alone
    test_path: str = ""  # the files of the test, likewise; either sets split=given
    hint: str = ""  # the file that path should name and its publisher, for the error without it
    item_text: str = ""  # a TSV, CSV, Parquet or .item file with the text of items; "" = none
    item_features: str = ""  # a CSV, Parquet, .item or JSON lines file of features; "" = none
    feature_columns: tuple[str, ...] = ()  # its columns that are read; () = all but the ids
    feature_numbers: tuple[str, ...] = ()  # those that are numbers, such as price: ten buckets
    columns: str = ""  # the columns of a file without a header, such as user,item,_
    separator: str = ""  # what stands between the fields of a text file; "" = it is found
    user_column: str = "user_id"  # where a file lacks it: one that says the same, such as userId
    item_column: str = "item_id"  # likewise, such as asin
    timestamp_column: str = "timestamp"  # likewise, such as date; "" = rows are in time order
    rating_column: str = ""  # "" = no ratings
    split_column: str = "split"  # split=given: the column with train, valid (if any) and test
    event_column: str = ""  # the kinds of events; "" = found, if events are named
    events: str = ""  # the kinds that are kept, such as view,buy; "" = all
    duplicates: str = "keep"  # keep | drop (the same user, item and time) | last (user and item)
    text_id_column: str = "item_id"
    text_columns: tuple[str, ...] = ("title",)  # the columns that are joined by a space
    text_template: str = ""  # such as "The title is {title}, by {brand}"; replaces text_columns
    rating_above: Threshold = None  # only ratings above it are kept; None = all
    rating_filter: str = "interactions"  # interactions | targets (histories keep low ratings)
    single_users: str = "drop"  # drop | keep users with one interaction, or less than min_user
    core: Size = 0  # k of the iterated k-core of users and items; 0 = off
    min_user: Size = 0  # the least interactions of a user; 0 = core
    min_item: Size = 0  # the least interactions of an item; 0 = core
    min_history: Count = 1  # the least number of items before a target
    split: str = "leave_one_out"  # ... | time | time_fraction | interaction_fraction | given
    valid_from: str = ""  # split=time: when validation starts, an ISO date or date-time in UTC
    test_from: str = ""  # split=time: when the test starts
    valid_fraction: float = 0.8  # where validation starts, of the time span or interactions
    test_fraction: float = 0.9  # where the test starts (time_fraction, interaction_fraction)
    ties: str = "file"  # targets of equal times: file (its order) | untied (left out) | expected
    known_items_only: bool = False  # whether items of validation and test must occur in training
    demo_users: int = 3000
    demo_items: int = 400
    demo_seed: Size = 0
    builder: str = ""  # source=tfds: the builder, one of BUILDERS
    mirror: str = ""  # source=tfds: a URL or directory that has the official files
    download_dir: str = ""  # "" = $XDG_CACHE_HOME/rearec_jax/downloads or ~/.cache/...
    tfds_dir: str = ""  # prepared data sets of TensorFlow; "" = .../rearec_jax/tfds, as above
    malformed_share: Fraction = 0.001  # source=tfds: the share of malformed lines that is an error
    cache_dir: str = ""  # prepared arrays; "" = $XDG_CACHE_HOME/rearec_jax or ~/.cache/rearec_jax


@dataclasses.dataclass(frozen=True)
class TextConfig:
    """The options of the items' text vectors, for backbones that read text and for encode_items."""

    vectors: str = ""  # a .npy or Parquet file with your vectors; "" = made by `encoder`
    vectors_column: str = ""  # the column of a Parquet file; "" = the only one of lists of numbers
    encoder: str = "tfidf"  # tfidf (with truncated SVD) | language_model
    model_path: str = ""  # the directory of a transformers or sentence-transformers model
    width: Count = 768  # F; wider vectors are reduced to it by PCA
    batch_size: Count = 32  # the number of texts that the language model encodes at once
    max_tokens: Count = 512  # the most tokens of a text that the language model reads


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The options of the item encoder and of the Transformer (post-LayerNorm, as in BERT)."""

    backbone: str = "sasrec"  # sasrec | bert4rec | unisrec | morec; sets the three below where ""
    items: str = ""  # ids | whitening (text, mixture of experts) | projection (text, two layers)
    attention: str = ""  # causal | bidirectional (where every prefix is encoded apart)
    similarity: str = ""  # dot | cosine, of a state and an item
    item_ids: bool = False  # whether text backbones add a free vector for each item (UniSRec)
    experts: Count = 8  # items=whitening: the number of experts
    text_dropout: Fraction = 0.2  # the dropout of the text vectors
    layer: str = "transformer"  # transformer | filtered | ligr | hstu (docs/backbones.md)
    taps: Count = 12  # layer=filtered: the length of the filters, in items
    relative_positions: bool = False  # whether attention learns a bias for each distance
    width: Count = 256  # D
    layers: Count = 2
    heads: Count = 2
    hidden: Count = 300  # the width of the feed-forward layer
    max_length: Length = 50  # the latest items of a history that are read; tokens of a row
    embedding_dropout: Fraction = 0.2  # the dropout of the vectors of the items
    step_dropout: FractionOrSame = -1.0  # of the inputs of reasoning steps; -1 = embedding_dropout
    dropout: Fraction = 0.5  # the dropout of attention weights and of both sublayers' outputs
    init_stddev: Positive = 0.02
    layer_norm_epsilon: Positive = 1e-12
    dtype: str = "float32"  # float32 | bfloat16 | float64 (tests), of the matrix products


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The options of the optimisation."""

    objective: str = "next_item"  # next_item | cloze (masked items, as in BERT4Rec)
    mask_rate: Share = 0.2  # cloze: the share of a sequence's targets that is masked
    mask_last_only: Share = 0.1  # cloze: the share of sequences that mask only their last item
    loss: str = "full"  # full | sampled | in_batch (two approximations for large catalogues)
    sampled_items: Count = 8192  # sampled: the number of negatives in an update
    sampling_power: Share = 0.75  # sampled: negatives are drawn in proportion to (count + 1)^power
    lazy_adam: bool = False  # whether items that an update does not touch stay (not with full)
    epochs: Count = 300
    max_steps: Size = 0  # the most updates; 0 = no limit
    batch_size: Count = 2048  # targets in an update, rounded to whole rows; at most an epoch's
    rows_multiple: Size = 0  # the factor of a batch's number of rows; 0 = a suitable power of two
    learning_rate: Positive = 1e-3
    schedule: str = "constant"  # constant | cosine (to 0 over `epochs`)
    warmup_steps: Size = 0  # updates in which the learning rate rises from 0
    clip_norm: Amount = 0.0  # the largest norm of the gradients; 0 = no limit
    weight_decay: Amount = 0.0  # the decoupled weight decay (AdamW)
    patience: Size = 10  # epochs without a better validation before it stops; 0 = never
    stop_metric: str = "ndcg@20"  # the validation metric that chooses the best epoch
    dropout_samples: Count = 1  # dropout masks of each update, whose losses are averaged
    stride: Size = 0  # new targets in each window of a long sequence; 0 = max_length, no overlap
    # The GiB of logits. A full cross-entropy over up to 131,072 items on one device takes blocks of
    # queries; others keep all logits if they fit, or else take blocks of the catalogue.
    logits_gib: Amount = 2.0
    catalogue_block: Count = 8192  # items in a block of the catalogue, at most half of a device's
    checkpoint_minutes: Positive = 10.0  # between checkpoints in an epoch; one ends it anyway
    log_every_steps: Count = 50  # updates between two entries of the log
    start_from: str = ""  # the work directory of a run whose weights this one starts with; "": none
    callbacks: tuple[str, ...] = ()  # wandb | mlflow | FILE.py:NAME | MODULE:NAME are told of it


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """The options of the evaluation, which ranks all items."""

    cutoffs: tuple[int, ...] = (5, 10, 20, 50)
    exclude_seen: bool = False  # whether items that the user has had are not ranked
    list_length: Size = 0  # the items of the test's lists that summary.json measures; 0 = none
    max_users: Size = 0  # the size of a fixed random sample of users, for trials; 0 = all
    steps: int = -1  # the reasoning steps; -1 = as trained
    by_step: bool = True  # whether targets are ranked by each of r_0 .. r_K as well
    batch_size: Count = 256  # users encoded at once; few fit the caches of a CPU, GPUs want 4096
    score_mib: Count = 256  # the MiB of a block of scores


@dataclasses.dataclass(frozen=True)
class AnalysisConfig:
    """The options of --mode=analyse and --mode=compare."""

    list_length: Count = 10  # the number of items in the lists by which steps are compared
    projected_users: Count = 500  # the test examples whose states are projected to two dimensions
    story_users: tuple[str, ...] = ()  # raw ids; () = most improved, most worsened, and some drawn
    random_stories: Size = 3  # the number of drawn users where story_users=()
    resamples: Count = 10_000  # the resamples of the bootstrap
    seed: Size = 0  # the seed of projected users, stories and resamples


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """The mesh of devices: rows of data are split over `data`, the catalogue over `model`."""

    data: DeviceCount = -1  # the number of devices; -1 = all that `model` leaves
    model: Count = 1


@dataclasses.dataclass(frozen=True)
class Config:
    """All options of a run, resolved and checked."""

    data: DataConfig = DataConfig()
    text: TextConfig = TextConfig()
    model: ModelConfig = ModelConfig()
    method: MethodConfig = MethodConfig()  # noqa: RUF009 - frozen
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()
    analysis: AnalysisConfig = AnalysisConfig()
    mesh: MeshConfig = MeshConfig()
    seed: Size = 0
