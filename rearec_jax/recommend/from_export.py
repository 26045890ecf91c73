"""Loads an export with JAX, numpy and Polars alone: no Flax, no Orbax, no pickle.

An export is a directory of these files:

manifest.json      The format, versions, options, facts of the model, shapes, the date until which
                   JAX promises to read the programs, and the SHA-256 of every other file.
encode.stablehlo   (weights, table [n, D], tokens, positions, segments [b, t], queries [b, q])
                   -> [b, q, K + 1, D]: each user after 0 .. K steps. n, b, t and q are free.
attend.stablehlo   The same arguments -> the same, and [b, q, K + 1, t]: the attention of each step.
rows.stablehlo     (weights, text vectors [n, F]) -> [n, D]: rows of the table, where the backbone
                   reads text.
weights/*.npy      The weights, one array in each file, in the order of the manifest.
table.npy          The item vectors.
items.parquet      The id, the title and the count of the item of each row of the table.
samples.parquet    Sample histories (see `samples`); this file may be deleted.

Older exports lack the attention, the samples, the model's temperature and its options.

JAX refuses programs that are about six months older than itself. Whatever their age, the arrays and
the options make the same model again (`from_arrays`).
"""

from collections.abc import Callable
import dataclasses
import datetime
import functools
import hashlib
import json
import pathlib
from typing import Any, NamedTuple

import jax
from jax import export as jax_export
import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np

from rearec_jax.errors import UserError
from rearec_jax.losses.similarity import comparable
from rearec_jax.recommend.engine import Engine
from rearec_jax.recommend.items import ITEMS_FILE, Items, load_items
from rearec_jax.recommend.recommender import Recommender
from rearec_jax.recommend.rows import Rows
from rearec_jax.recommend.samples import SAMPLES_FILE, Sample, load_samples

MANIFEST = "manifest.json"
FORMAT = 1
ENCODE, ATTEND, ROWS = "encode.stablehlo", "attend.stablehlo", "rows.stablehlo"
TABLE, WEIGHTS = "table.npy", "weights"
_FACTS = ("name", "max_length", "steps", "cloze", "similarity", "text_width")


@dataclasses.dataclass(frozen=True)
class Encoder:
    """The `engine.Encode` of a StableHLO program, which computes all steps.

    program: The function that runs it.
    digest:  The SHA-256 of its file: exports of the same program share their compiled code.
    """

    program: Callable[..., Array] = dataclasses.field(compare=False)
    digest: str

    def __call__(
        self, weights: list[Array], table: Float[Array, "N D"], rows: Rows, steps: int
    ) -> Float[Array, "B Q S D"]:
        found = self.program(weights, table, *rows[:4])
        return found[:, :, : steps + 1]


@dataclasses.dataclass(frozen=True)
class Attender:
    """The `engine.Attend` of a StableHLO program, which is read when it is first run.

    path:   The file of the program.
    digest: The SHA-256 of the file, as in `Encoder`.
    """

    path: pathlib.Path = dataclasses.field(compare=False)
    digest: str

    @functools.cached_property
    def program(self) -> Callable[..., tuple[Array, Array]]:
        """The function that runs the program."""
        return _program(self.path)

    def __call__(
        self, weights: list[Array], table: Float[Array, "N D"], rows: Rows, steps: int
    ) -> tuple[Float[Array, "B Q S D"], Float[Array, "B Q S T"]]:
        vectors, attention = self.program(weights, table, *rows[:4])
        return vectors[:, :, : steps + 1], attention[:, :, : steps + 1]


class UnreadableProgramError(UserError):
    """An export's program cannot be read by this JAX: it is too old, or of a newer JAX."""


class Contents(NamedTuple):
    """The content of an export besides its programs.

    manifest:    The content of manifest.json.
    table:       The item vectors.
    weights:     The weights of the encoder, in the order of the manifest.
    row_weights: The weights of the item encoder; [] where the model reads no text.
    items:       The catalogue.
    samples:     The sample histories.
    """

    manifest: dict[str, Any]
    table: Float[Array, "N D"]
    weights: list[Array]
    row_weights: list[Array]
    items: Items
    samples: tuple[Sample, ...]


def is_export(path: pathlib.Path) -> bool:
    """Says whether ``path`` is an export."""
    return (path / MANIFEST).is_file()


def load(path: pathlib.Path) -> Recommender:
    """Loads the recommender that was exported.

    Raises:
        UnreadableProgramError: its programs are too old or too new for this JAX.
        UserError: a file is missing or damaged; see ``read_contents``.
    """
    path = path.resolve()  # resolves a link once, so that all files are of one export
    contents = read_contents(path)
    digests, facts = contents.manifest["files"], contents.manifest["model"]
    rows = None
    if facts["text_width"]:
        rows = _item_rows(path, contents.row_weights, facts["similarity"])
    engine = Engine(
        name=facts["name"],
        max_length=facts["max_length"],
        steps=facts["steps"],
        cloze=facts["cloze"],
        encode=Encoder(_program(path / ENCODE), digests[ENCODE]),
        weights=contents.weights,
        table=contents.table,
        ranked=comparable(contents.table, facts["similarity"]),
        item_rows=rows,
        text_width=facts["text_width"],
        attend=Attender(path / ATTEND, digests[ATTEND]) if ATTEND in digests else None,
        temperature=facts.get("temperature"),
    )
    return Recommender(engine, contents.items, samples=contents.samples)


def read_contents(path: pathlib.Path) -> Contents:
    """Reads all of an export but its programs, and checks the digest of every file.

    Raises:
        UserError: a file or a fact is missing, a file is not as it was written, or the format is
            newer. The message names it.
    """
    manifest = _manifest(path)
    _check_files(path, manifest["files"])
    (table,) = _arrays(path, [TABLE], manifest)
    items = load_items(path / ITEMS_FILE)
    if not len(items) == len(table) == manifest["items"]:
        raise UserError(
            f"{path / MANIFEST} is of {manifest['items']} items, but {ITEMS_FILE} has"
            f" {len(items)} and {TABLE} {len(table)}; export the model again"
        )
    return Contents(
        manifest,
        table,
        _arrays(path, manifest["weights"], manifest),
        _arrays(path, manifest["row_weights"], manifest) if manifest["model"]["text_width"] else [],
        items,
        load_samples(path / SAMPLES_FILE),
    )


def is_overdue(path: pathlib.Path) -> bool:
    """Says whether JAX no longer promises to read the programs of the export at ``path``."""
    until = _manifest(path).get("programs_until")
    return until is not None and until < datetime.date.today().isoformat()


def _manifest(path: pathlib.Path) -> dict[str, Any]:
    file = path / MANIFEST
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        number = manifest["format"]
        missing = _missing(manifest) if number == FORMAT else []
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else error
        raise UserError(f"{file} is damaged ({reason}); export the model again") from error
    if number != FORMAT:
        raise UserError(
            f"{file} has format {number}, this version reads {FORMAT}; export the model again"
        )
    if missing:
        raise UserError(f"{file} lacks {', '.join(missing)}; export the model again")
    for name in manifest["files"]:
        if _leads_out(name):
            raise UserError(f"{file} names {name!r}, which is not in its directory")
    return manifest


def _missing(manifest: dict[str, Any]) -> list[str]:
    """Returns the needed facts and digests that are missing, because no file goes unchecked.

    Raises:
        KeyError: a whole part of the manifest is missing.
    """
    facts, files = manifest["model"], manifest["files"].keys()
    missing = [f"the model's {fact}" for fact in _FACTS if fact not in facts]
    missing += [] if "items" in manifest else ["the number of items"]
    arrays, programs = [TABLE, *manifest["weights"]], [ENCODE]
    if facts.get("text_width"):
        arrays += manifest["row_weights"]
        programs.append(ROWS)
    shapes = manifest["shapes"]
    missing += [f"the type of {name}" for name in arrays if name not in shapes]
    needed = [*programs, *arrays, ITEMS_FILE]
    return missing + [f"the digest of {name}" for name in needed if name not in files]


def _leads_out(name: str) -> bool:
    path = pathlib.PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts


def _check_files(path: pathlib.Path, files: dict[str, str]) -> None:
    for name, digest in files.items():
        if name == SAMPLES_FILE and not (path / name).exists():
            continue
        try:
            with (path / name).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise UserError(
                f"{path / name} cannot be read ({error.strerror}); export the model again"
            ) from error
        if found != digest:
            raise UserError(
                f"{path / name} is damaged: its SHA-256 is not the manifest's; copy or export the"
                " model again"
            )


def _program(path: pathlib.Path) -> Callable[..., Any]:
    try:
        program = jax_export.deserialize(bytearray(path.read_bytes()))
        program.mlir_module()  # reads the program now, or its first call would fail
    except Exception as error:  # JAX does not specify what it raises for another format
        written = _manifest(path.parent)
        until = written.get("programs_until")
        promise = f", which JAX promises to read until {until}" if until else ""
        raise UnreadableProgramError(
            f"{path} is of JAX {written['versions'].get('jax', '(unknown)')}{promise}, and JAX"
            f" {jax.__version__} does not read it"
        ) from error
    return program.call


def _arrays(path: pathlib.Path, names: list[str], manifest: dict[str, Any]) -> list[Array]:
    def one(name: str) -> Array:
        array = np.load(path / name, allow_pickle=False)
        if array.dtype.kind == "V":  # numpy has no bfloat16: it reads bytes of no type
            array = array.view(jnp.dtype(manifest["shapes"][name][-1]))
        return jnp.asarray(array)

    return [one(name) for name in names]


def _item_rows(
    path: pathlib.Path, weights: list[Array], similarity: str
) -> Callable[[np.ndarray], tuple[Array, Array]]:
    program = jax.jit(_program(path / ROWS))

    def item_rows(vectors: np.ndarray) -> tuple[Array, Array]:
        rows = program(weights, jnp.asarray(vectors, jnp.float32))
        return rows, comparable(rows, similarity)

    return item_rows
