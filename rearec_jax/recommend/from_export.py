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

Whoever made an export may be a stranger: all of it is checked before it is used, and nothing but
its programs is run, which compute and can do nothing else.

JAX refuses programs that are about six months older than itself. Whatever their age, the arrays and
the options make the same model again (`from_arrays`).
"""

from collections.abc import Callable, Mapping
import dataclasses
import hashlib
import pathlib
import re
from typing import Any, NamedTuple

import jax
from jax import export as jax_export
import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np

from rearec_jax.data.own_files.cells import first_line
from rearec_jax.errors import UserError
from rearec_jax.losses.similarity import comparable
from rearec_jax.recommend import manifest as manifest_lib
from rearec_jax.recommend.engine import Engine
from rearec_jax.recommend.items import ITEMS_FILE, Items, load_items
from rearec_jax.recommend.manifest import ATTEND, ENCODE, MANIFEST, ROWS, TABLE, Manifest
from rearec_jax.recommend.recommender import Recommender
from rearec_jax.recommend.rows import Rows
from rearec_jax.recommend.samples import SAMPLES_FILE, Sample, load_samples
from rearec_jax.run import files

# What the programs of exports call outside of StableHLO: none of it leaves the device.
_CALLED = {"shape_assertion"}
_CUSTOM_CALL = re.compile(r'custom_call (?:@"?([\w.$-]+)"?\()?')  # "" of a name of other signs


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
    """The `engine.Attend` of a StableHLO program; its fields are those of `Encoder`."""

    program: Callable[..., tuple[Array, Array]] = dataclasses.field(compare=False)
    digest: str

    def __call__(
        self, weights: list[Array], table: Float[Array, "N D"], rows: Rows, steps: int
    ) -> tuple[Float[Array, "B Q S D"], Float[Array, "B Q S T"]]:
        vectors, attention = self.program(weights, table, *rows[:4])
        return vectors[:, :, : steps + 1], attention[:, :, : steps + 1]


class UnreadableProgramError(UserError):
    """An export's program cannot be read by this JAX: it is too old, or of a newer JAX."""


class Contents(NamedTuple):
    """The content of an export besides its programs.

    path:        The directory; of a link, that to which it leads.
    manifest:    The content of manifest.json.
    table:       The item vectors.
    weights:     The weights of the encoder, in the order of the manifest.
    row_weights: The weights of the item encoder; [] where the model reads no text.
    items:       The catalogue.
    samples:     The sample histories.
    """

    path: pathlib.Path
    manifest: Manifest
    table: Float[Array, "N D"]
    weights: list[Array]
    row_weights: list[Array]
    items: Items
    samples: tuple[Sample, ...]


def is_export(path: pathlib.Path) -> bool:
    """Says whether ``path`` is an export."""
    return (path / MANIFEST).exists()


def load(contents: Contents) -> Recommender:
    """Makes the recommender of an export with its programs.

    Raises:
        UnreadableProgramError: its programs are too old or too new for this JAX.
        UserError: a program is none of this model.
    """
    facts, digests, table = contents.manifest.model, contents.manifest.files, contents.table
    rows, users, tokens, depths = 2, 3, 5, facts.steps + 1  # any number of the first three
    packed = [jax.ShapeDtypeStruct((rows, tokens), "int32")] * 3
    packed.append(jax.ShapeDtypeStruct((rows, users), "int32"))
    arguments = contents.weights, table, *packed
    vectors = rows, users, depths, table.shape[1]
    encode = _program(contents, ENCODE, arguments, vectors)
    attend = item_rows = None
    if ATTEND in digests:
        program = _program(contents, ATTEND, arguments, vectors, (rows, users, depths, tokens))
        attend = Attender(program, digests[ATTEND])
    if facts.text_width:
        text = jax.ShapeDtypeStruct((rows, facts.text_width), "float32")
        found = (rows, table.shape[1])
        program = _program(contents, ROWS, (contents.row_weights, text), found)
        item_rows = _item_rows(program, contents.row_weights, facts.similarity)
    engine = Engine(
        name=facts.name,
        max_length=facts.max_length,
        steps=facts.steps,
        cloze=facts.cloze,
        encode=Encoder(encode, digests[ENCODE]),
        weights=contents.weights,
        table=table,
        ranked=comparable(table, facts.similarity),
        item_rows=item_rows,
        text_width=facts.text_width,
        attend=attend,
        temperature=facts.temperature,
        file=str(contents.path / ENCODE),
    )
    return Recommender(engine, contents.items, samples=contents.samples)


def read_contents(path: pathlib.Path) -> Contents:
    """Reads all of an export but its programs, and checks the digest of every file.

    Raises:
        UserError: a file or a fact is missing, a file is not as it was written, or the format is
            newer. The message names it.
    """
    path = path.resolve()  # resolves a link once, so that all files are of one export
    manifest = manifest_lib.read(path)
    row_weights = manifest.row_weights if manifest.model.text_width else ()
    arrays = {
        name: _mapped(path, name, manifest) for name in (TABLE, *manifest.weights, *row_weights)
    }
    _check_digests(path, manifest.files)
    items, rows = load_items(path / ITEMS_FILE), len(arrays[TABLE])
    if not len(items) == rows == manifest.items:
        raise UserError(
            f"{path / MANIFEST} is of {manifest.items} items, but {ITEMS_FILE} has"
            f" {len(items)} and {TABLE} {rows}; export the model again"
        )
    loaded = {name: _loaded(path / name, array) for name, array in arrays.items()}
    return Contents(
        path,
        manifest,
        loaded[TABLE],
        [loaded[name] for name in manifest.weights],
        [loaded[name] for name in row_weights],
        items,
        _samples(path, manifest),
    )


def _samples(path: pathlib.Path, manifest: Manifest) -> tuple[Sample, ...]:
    samples = load_samples(path / SAMPLES_FILE)
    if samples and SAMPLES_FILE not in manifest.files:
        raise UserError(
            f"{path / MANIFEST} lacks the digest of {SAMPLES_FILE}; delete {path / SAMPLES_FILE},"
            " or export the model again"
        )
    return samples


def _check_digests(path: pathlib.Path, digests: Mapping[str, str]) -> None:
    for name, digest in digests.items():
        if name == SAMPLES_FILE and not (path / name).exists():
            continue
        try:
            with files.inside(path, name).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except (OSError, ValueError) as error:
            raise _unreadable(path / name, error) from error
        if found != digest:
            raise UserError(
                f"{path / name} is damaged: its SHA-256 is not the manifest's; copy or export the"
                " model again"
            )


def _mapped(path: pathlib.Path, name: str, manifest: Manifest) -> np.ndarray:
    """Returns an array as a view of its file, which has exactly the type of the manifest."""
    wanted = manifest.shapes[name]
    try:
        file = files.inside(path, name)
        array = files.load_array(file)
        # numpy has no bfloat16: it reads two bytes of no type
        dtype = "bfloat16" if array.dtype == np.dtype("V2") else str(array.dtype)
        if (array.shape, dtype) != wanted:
            raise ValueError(f"it holds {dtype} of shape {array.shape}, not {wanted}")
    except (OSError, ValueError) as error:
        raise _unreadable(path / name, error) from error
    return array.view(jnp.dtype(dtype))


def _loaded(file: pathlib.Path, array: np.ndarray) -> Array:
    """Returns an array in memory, all of whose numbers are finite."""
    if not all(np.isfinite(float(value)) for value in (array.min(), array.max())):
        raise UserError(f"{file} holds a value that is not a finite number; export the model again")
    return jax.device_put(np.array(array))  # jnp.array compiles a program for each shape


def _unreadable(file: pathlib.Path, error: Exception) -> UserError:
    reason = error.strerror if isinstance(error, OSError) else error
    return UserError(f"{file} cannot be read ({reason}); export the model again")


def _program(
    contents: Contents, name: str, arguments: tuple[Any, ...], *results: tuple[int, ...]
) -> Callable[..., Any]:
    """Reads a program and checks what it takes and returns.

    Args:
        contents: the export.
        name: the file of the program.
        arguments: examples of its arguments, or their shapes.
        results: the shape of each array that it then returns.
    """
    file, written = contents.path / name, contents.manifest
    try:
        program = jax_export.deserialize(bytearray(file.read_bytes()))
        text = program.mlir_module()  # reads the program now, or its first call would fail
    except Exception as error:  # JAX does not specify what it raises for another format
        until = written.programs_until
        promise = f", which JAX promises to read until {until}" if until else ""
        raise UnreadableProgramError(
            f"{file} is of JAX {written.versions.get('jax', '(unknown)')}{promise}, and JAX"
            f" {jax.__version__} does not read it"
        ) from error
    here = jax_export.default_export_platform()
    if here not in program.platforms:
        platforms = ", ".join(program.platforms)
        raise UnreadableProgramError(f"{file} runs on {platforms}, and not on {here}")
    if foreign := set(_CUSTOM_CALL.findall(text)) - _CALLED:
        called = min(foreign) or "foreign code"
        raise UserError(f"{file} calls {called}, as no export does; export the model again")
    try:
        found = jax.tree.leaves(jax.eval_shape(program.call, *arguments))
        shapes = tuple(one.shape for one in found)
        if shapes != results:
            raise ValueError(f"it returns {shapes}, not {results}")
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{file} does not fit the weights and the manifest ({first_line(error)}); export the"
            " model again"
        ) from error
    return program.call


def _item_rows(
    program: Callable[..., Array], weights: list[Array], similarity: str
) -> Callable[[np.ndarray], tuple[Array, Array]]:
    compiled = jax.jit(program)

    def item_rows(vectors: np.ndarray) -> tuple[Array, Array]:
        rows = compiled(weights, jnp.asarray(vectors, jnp.float32))
        return rows, comparable(rows, similarity)

    return item_rows
