"""Every option, its default, and the one place where options are checked.

A ``ConfigDict`` comes in from a config file and the command line; ``resolve`` turns it into the
frozen dataclasses below. Nothing else in the package sees a ConfigDict, and no default lives
anywhere else.
"""

import dataclasses

from rearec_jax.methods.options import MethodConfig

BACKBONES = {  # name -> items, attention, similarity
    "sasrec": ("ids", "causal", "dot"),
    "bert4rec": ("ids", "bidirectional", "dot"),
    "unisrec": ("whitening", "causal", "cosine"),
    "morec": ("projection", "causal", "dot"),
}
ITEMS = ("ids", "whitening", "projection")
TEMPERATURES = {"dot": 1.0, "cosine": 0.07}  # where method.temperature is 0
SOURCES = ("demo", "sequences", "table", "recbole", "tfds")
BUILDERS = ("yelp", "video_games", "software", "cds_and_vinyl", "baby_products")
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
    method: MethodConfig = MethodConfig()  # noqa: RUF009 - frozen
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()
    analysis: AnalysisConfig = AnalysisConfig()
    mesh: MeshConfig = MeshConfig()
    seed: int = 0
